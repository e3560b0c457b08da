//! The wallet's program, and the page about its service.

use rollmill_pxe::leaks;

mod contracts;
mod killed;
mod ledger;
mod page;
mod serve;
mod transfer;
