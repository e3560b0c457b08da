//! A deployment's parameters, opened from the hash that L1 supplies.
//!
//! The constructor of the contract checks every bound of the parameters, so that circuits rely on them.

use rollmill_algebra::Fr;
use rollmill_plonk::builder::{Builder, Var};
use rollmill_protocol::config::{Config, ConfigLayout};
use rollmill_protocol::domain;
use rollmill_protocol::message::MESSAGE_SUBTREE_HEIGHT;
use rollmill_protocol::public_inputs::ConstantsLayout;

use crate::weaken::gone;

/// The parameters whose hash the constants have.
pub fn open_config(
    b: &mut Builder,
    constants: &ConstantsLayout<Var>,
    config: &Config,
) -> ConfigLayout<Var> {
    let config = config.layout().map(|word| b.witness(word));
    let hash = b.hash(domain::CONFIG, &config.to_vec());
    if !gone("gadgets.config.hash") {
        b.assert_equal(hash, constants.config_hash);
    }
    // A literal of the circuits: the number of a block's messages is part of their layout.
    if !gone("gadgets.config.subtree") {
        b.assert_constant(config.message_subtree_height, Fr::from(MESSAGE_SUBTREE_HEIGHT as u64));
    }
    config
}
