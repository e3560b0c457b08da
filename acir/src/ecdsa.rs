//! A call of ECDSA with its parts by name: the two opcodes differ in nothing but the curve.

use acir::FieldElement;
use acir::circuit::opcodes::{BlackBoxFuncCall, FunctionInput};
use acir::native_types::Witness;

type Input = FunctionInput<FieldElement>;

/// The curve of a signature.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Curve {
    Secp256k1,
    Secp256r1,
}

/// The parts of a call. Numbers are 32 bytes each, the highest first.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct EcdsaCall<'a> {
    pub curve: Curve,
    /// The public key's coordinates.
    pub key: [&'a [Input; 32]; 2],
    /// The number r, and the number s after it.
    pub signature: &'a [Input; 64],
    /// The number that was signed: the hash of a message.
    pub hash: &'a [Input; 32],
    /// Where it is 0, the verdict is 1 whatever the rest is.
    pub predicate: &'a Input,
    /// 1 where the signature is valid, else 0.
    pub output: Witness,
}

impl<'a> EcdsaCall<'a> {
    /// The parts of a call; `None` for a call of anything else.
    pub fn of(call: &'a BlackBoxFuncCall<FieldElement>) -> Option<Self> {
        let curve = match call {
            BlackBoxFuncCall::EcdsaSecp256k1 { .. } => Curve::Secp256k1,
            _ => Curve::Secp256r1,
        };
        let (BlackBoxFuncCall::EcdsaSecp256k1 {
            public_key_x,
            public_key_y,
            signature,
            hashed_message,
            predicate,
            output,
        }
        | BlackBoxFuncCall::EcdsaSecp256r1 {
            public_key_x,
            public_key_y,
            signature,
            hashed_message,
            predicate,
            output,
        }) = call
        else {
            return None;
        };
        let key = [&**public_key_x, &**public_key_y];
        Some(Self { curve, key, signature, hash: hashed_message, predicate, output: *output })
    }

    /// The call with these parts.
    pub fn to_call(self) -> BlackBoxFuncCall<FieldElement> {
        let [public_key_x, public_key_y] = self.key.map(|number| Box::new(*number));
        let signature = Box::new(*self.signature);
        let (hashed_message, predicate) = (Box::new(*self.hash), *self.predicate);
        let output = self.output;
        match self.curve {
            Curve::Secp256k1 => BlackBoxFuncCall::EcdsaSecp256k1 {
                public_key_x,
                public_key_y,
                signature,
                hashed_message,
                predicate,
                output,
            },
            Curve::Secp256r1 => BlackBoxFuncCall::EcdsaSecp256r1 {
                public_key_x,
                public_key_y,
                signature,
                hashed_message,
                predicate,
                output,
            },
        }
    }
}
