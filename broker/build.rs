//! Tells Cargo that the crate holds its migrations: without it, an incremental build does not see a new file.

fn main() {
    println!("cargo:rerun-if-changed=migrations");
}
