//! Prints the model of a card that `docs/book/card-model.md` describes, by the kernels and plans as they are.
//!
//! `cargo run -p rollmill-kernels --example model`

fn main() {
    print!("{}", rollmill_kernels::card_model());
}
