//! The wallet's program, and the page about its service.

mod contracts;
mod ledger;
mod page;
mod serve;
mod transfer;
