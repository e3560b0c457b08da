//! Seed phrases of BIP 39, in English and without a passphrase.

use bip39::{Error, Language, Mnemonic};
use zeroize::Zeroizing;

use crate::error::StoreError;

/// Characters of the longest phrase: 24 words of at most eight letters.
const CHARACTERS_MAX: usize = 24 * 9;

/// The entropy of a phrase, in any case and with any white space.
pub(crate) fn parse(phrase: &str) -> Result<Zeroizing<Vec<u8>>, StoreError> {
    let mut plain = Zeroizing::new(String::with_capacity(phrase.len()));
    for word in phrase.split_whitespace() {
        if !plain.is_empty() {
            plain.push(' ');
        }
        plain.extend(word.chars().map(|c| c.to_ascii_lowercase()));
    }
    let mnemonic = Mnemonic::parse_in_normalized(Language::English, &plain).map_err(why)?;
    Ok(Zeroizing::new(mnemonic.to_entropy()))
}

/// The phrase of an entropy.
pub(crate) fn of(entropy: &[u8]) -> Result<Zeroizing<String>, StoreError> {
    let mnemonic = mnemonic(entropy)?;
    let mut phrase = Zeroizing::new(String::with_capacity(CHARACTERS_MAX));
    for word in mnemonic.words() {
        if !phrase.is_empty() {
            phrase.push(' ');
        }
        phrase.push_str(word);
    }
    Ok(phrase)
}

/// The seed that keys are derived from.
pub(crate) fn seed(entropy: &[u8]) -> Result<Zeroizing<[u8; 64]>, StoreError> {
    Ok(Zeroizing::new(mnemonic(entropy)?.to_seed_normalized("")))
}

fn mnemonic(entropy: &[u8]) -> Result<Mnemonic, StoreError> {
    Mnemonic::from_entropy(entropy).map_err(|_| StoreError::damaged("a seed has another length"))
}

/// The words themselves are not repeated, since messages get logged.
fn why(error: Error) -> StoreError {
    let why = match error {
        Error::BadWordCount(got) => format!("it has {got} words, expected 12, 15, 18, 21 or 24"),
        Error::UnknownWord(at) => format!("word {} is not in the list of English words", at + 1),
        Error::InvalidChecksum => {
            "its checksum is wrong, so a word is wrong or the order is".to_owned()
        }
        _ => "it is malformed".to_owned(),
    };
    StoreError::Phrase { why }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Known answers: the first vectors of BIP 39 for 16 and for 32 bytes.
    #[test]
    fn phrases_are_those_of_the_standard() {
        let zeros = "abandon abandon abandon abandon abandon abandon abandon abandon abandon \
                     abandon abandon about";
        assert_eq!(*of(&[0; 16]).expect("a phrase"), zeros);
        let long = of(&[0; 32]).expect("a phrase");
        assert!(long.starts_with("abandon ") && long.ends_with(" art"), "{}", *long);
        assert_eq!(long.split(' ').count(), 24);
        for length in [16usize, 20, 24, 28, 32] {
            let entropy: Vec<u8> = (0..length as u8).collect();
            let phrase = of(&entropy).expect("a phrase");
            assert_eq!(*parse(&phrase).expect("entropy"), entropy);
            let other = format!("  {}\n", phrase.to_uppercase().replace(' ', " \t "));
            assert_eq!(*parse(&other).expect("entropy"), entropy);
        }
        // With an empty passphrase; the vectors of the standard have one.
        let seed = seed(&[0; 16]).expect("a seed");
        assert_eq!(seed[..4], [0x5e, 0xb0, 0x0b, 0xbd]);
    }

    #[test]
    fn a_wrong_phrase_is_rejected_and_its_words_are_not_repeated() {
        let good = of(&[7; 32]).expect("a phrase");
        let words: Vec<&str> = good.split(' ').collect();
        let swapped = [&words[1..2], &words[..1], &words[2..]].concat().join(" ");
        for (text, expected) in [
            (String::new(), "it has 0 words"),
            (words[..23].join(" "), "it has 23 words"),
            (good.replacen(words[0], "secretword", 1), "word 1 is not in the list"),
            (swapped, "its checksum is wrong"),
        ] {
            let error = parse(&text).expect_err(&text).to_string();
            assert!(error.starts_with("PXS-018: not a seed phrase: "), "{error}");
            assert!(error.contains(expected), "{error}");
            assert!(!error.contains("secretword"), "{error}");
        }
    }
}
