//! The broker's rules as pure functions: what each request, and what the broker itself, does to a job.
//!
//! - [`decide`] what the broker decides in Rust between two statements. The broker calls these functions, and so does
//!   [`step`].
//! - [`step`] what one event does to a job's row and its attempts, statements included. The statements are the broker's
//!   (`broker/src/sql`); `broker/tests/rules` sends random events to both and compares rows, answers and effects, and
//!   `broker/model` explores what follows from [`step`].
//! - [`second_step`] what one event does to a second lease, which is a row beside the job's.
//! - [`states`] the table of the transitions.
//!
//! Time is no number here. A lease is over or is not, a pause and a deadline likewise; whoever calls says when.

pub mod decide;
mod event;
mod row;
mod second;
pub mod states;
mod step;

pub use event::{Answer, Completion, Effects, Event, Offered, Rejection, Step, Stored};
pub use row::{Attempt, Deadline, Lease, Made, Row};
pub use second::{Second, SecondEvent, second_step};
pub use step::{SPREAD, step};
