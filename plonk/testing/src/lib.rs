//! Provers that cheat, and statements that are false in one place, for tests of the checks that reject them.
#![allow(missing_debug_implementations, reason = "no test prints them")]

pub mod cheats;
pub mod statements;
