//! Who may do what: the owner, who has the token of the service, and applications, which have tokens of their own.
//!
//! An application sees and uses the accounts and contracts that it was granted, and nothing else. The file of grants
//! (`serve.apps`) is read at the start:
//!
//! ```json
//! [
//!   {
//!     "name": "shop",
//!     "token": "… 32 characters or more …",
//!     "origins": ["https://shop.example"],
//!     "accounts": ["rollmill1…"],
//!     "contracts": ["0x…"],
//!     "asset": true,
//!     "rights": "spend"
//!   }
//! ]
//! ```

use std::io::Read;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;

use axum::http::HeaderMap;
use rollmill_node_client::wire::Field;
use rollmill_pxe_store::Account;
use rollmill_service::Secret;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use sha2::{Digest, Sha256};

use super::error::CallError;
use super::origin;
use super::wire::Address;
use crate::error::PxeError;
use crate::wallet::IdempotencyKey;

/// Fewest characters of an access token: 128 bits as hexadecimal digits.
pub const TOKEN_LENGTH_MIN: usize = 32;
/// Most bytes of a file of grants.
const FILE_BYTES_MAX: u64 = 1024 * 1024;
/// Most characters of an application's name.
const NAME_LENGTH_MAX: usize = 64;

/// What an application may do with what it was granted: `read` balances, notes and simulations, or `spend` too.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Rights {
    Read,
    Spend,
}

/// A grant as the file has it.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Written {
    name: String,
    token: String,
    #[serde(default)]
    origins: Vec<String>,
    accounts: Vec<Address>,
    #[serde(default)]
    contracts: Vec<Field>,
    #[serde(default)]
    asset: bool,
    rights: Rights,
}

/// What one application was granted.
#[derive(Debug, Clone)]
pub struct Grant {
    name: String,
    token: Secret,
    /// Pages that may use the token; any allowed page and any program if there is none.
    origins: Vec<String>,
    /// As they go over the wire, as the contracts are.
    accounts: Vec<String>,
    contracts: Vec<String>,
    /// The accounts, as the store names them.
    known: Vec<Account>,
    asset: bool,
    rights: Rights,
}

/// What a request of an application needs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Need {
    /// Nothing of any account: the result is narrowed.
    Nothing,
    /// To read an account.
    Account(Rights),
    /// To use the built-in asset of an account.
    Asset(Rights),
    /// To use a contract by an account.
    Contract(Rights),
    /// To be the owner.
    Owner,
}

/// What a method needs. A method that is not listed is the owner's, so that a new one is granted to nobody by mistake.
fn need(method: &str) -> Need {
    match method {
        "pxe_status" | "pxe_accounts" | "pxe_contracts" | "pxe_capabilities"
        | "pxe_transaction" | "pxe_wait" => Need::Nothing,
        "pxe_sync" => Need::Account(Rights::Read),
        "pxe_balance" | "pxe_notes" | "pxe_sent" | "pxe_simulateTransfer" => {
            Need::Asset(Rights::Read)
        }
        "pxe_transfer" | "pxe_withdraw" => Need::Asset(Rights::Spend),
        "pxe_contractNotes" | "pxe_simulateCall" => Need::Contract(Rights::Read),
        "pxe_call" | "pxe_authorize" => Need::Contract(Rights::Spend),
        _ => Need::Owner,
    }
}

/// Methods that send something. An application must send a key with them: without one, the wallet could not tell its
/// requests from the owner's.
const KEYED: [&str; 3] = ["pxe_transfer", "pxe_withdraw", "pxe_call"];

/// What the keys of applications start with in the store.
const OF_APP: &str = "app:";
/// How many digits of a hash follow it: a key has 64 characters at most.
const KEY_DIGITS: usize = 60;

/// Who sent a request.
#[derive(Debug, Clone, Copy)]
pub(super) enum Caller<'s> {
    Owner,
    App(&'s Grant),
}

/// The grants of a service, and the origins that its owner allows.
#[derive(Debug, Clone, Default)]
pub struct Access {
    origins: Vec<String>,
    grants: Vec<Grant>,
}

impl Access {
    /// With the origins that the owner allows, and the grants of a file.
    ///
    /// # Errors
    /// [`PxeError::Apps`].
    pub fn new(origins: &[String], file: Option<&Path>) -> Result<Self, PxeError> {
        let grants = file.map(read).transpose()?.unwrap_or_default();
        Ok(Self { origins: origins.to_vec(), grants })
    }

    /// With grants as a file has them.
    ///
    /// # Errors
    /// What is wrong with them.
    pub fn parse(origins: &[String], text: &str) -> Result<Self, String> {
        Ok(Self { origins: origins.to_vec(), grants: grants(text)? })
    }

    /// All origins whose pages are served: those of the owner, and those of single applications.
    pub fn origins(&self) -> Vec<String> {
        let of_apps = self.grants.iter().flat_map(|grant| grant.origins.iter().cloned());
        let mut all: Vec<String> = self.origins.iter().cloned().chain(of_apps).collect();
        all.sort();
        all.dedup();
        all
    }

    /// Checks that no application has the owner's token.
    ///
    /// # Errors
    /// Which one has.
    pub fn check_owner(&self, owner: &Secret) -> Result<(), String> {
        let owner = owner.reveal().trim();
        match self.grants.iter().find(|grant| grant.token.reveal().trim() == owner) {
            Some(grant) => Err(format!("{}: its token is the owner's", grant.name)),
            None => Ok(()),
        }
    }

    /// Who sent a request with these headers. `owner` is the token of the service. The server has checked that the
    /// `Origin` is one of [`Self::origins`], or the service's own.
    ///
    /// # Errors
    /// [`CallError::Token`], and [`CallError::Page`] where the token is not for pages of this origin.
    pub(super) fn caller(
        &self,
        owner: &Secret,
        headers: &HeaderMap,
    ) -> Result<Caller<'_>, CallError> {
        let grant = self.grants.iter().find(|grant| grant.token.is_bearer_of(headers));
        let caller = match grant {
            // Should an application have the owner's token, it has no more rights by that.
            Some(grant) => Caller::App(grant),
            None if owner.is_bearer_of(headers) => Caller::Owner,
            None => return Err(CallError::Token),
        };
        let named = origin::named(headers);
        let allowed = match caller {
            Caller::App(grant) if !grant.origins.is_empty() => {
                named.is_some_and(|origin| grant.origins.iter().any(|own| own == origin))
            }
            // An origin that is not in the list of an application is the owner's, or the service's own.
            _ => named.is_none_or(|origin| {
                let is_owners = self.origins.iter().any(|own| own == origin);
                is_owners || self.grants.iter().all(|one| one.origins.iter().all(|o| o != origin))
            }),
        };
        if allowed { Ok(caller) } else { Err(CallError::Page) }
    }
}

impl Caller<'_> {
    /// The accounts that an application was granted; none for the owner, who has all.
    pub(super) fn accounts(&self) -> Option<&[Account]> {
        match self {
            Self::Owner => None,
            Self::App(grant) => Some(&grant.known),
        }
    }

    /// The parameters of a method as the wallet takes them: the idempotency key of an application is its own. By that
    /// of another program it would learn that one's transaction (PXE-064), or keep it from paying.
    pub(super) fn own_keys(&self, method: &str, mut parameters: Value) -> Value {
        if let Self::App(grant) = self
            && KEYED.contains(&method)
            && let Some(key) = parameters.get_mut("idempotency_key")
            && let Some(text) = key.as_str()
            && text.parse::<IdempotencyKey>().is_ok()
        {
            let own = grant.own_key(text);
            *key = Value::String(own);
        }
        parameters
    }

    /// Checks that the caller may call a method with these parameters.
    ///
    /// # Errors
    /// [`CallError::Right`], which says what is not granted. It tells nothing of what the store has.
    pub(super) fn check(&self, method: &str, parameters: &Value) -> Result<(), CallError> {
        let Self::App(grant) = self else { return Ok(()) };
        let denied = |what: &'static str| Err(CallError::Right { app: grant.name.clone(), what });
        let has = |name: &str, granted: &[String]| {
            let given = parameters.get(name).and_then(Value::as_str);
            given.is_some_and(|given| granted.iter().any(|one| one == given))
        };
        let rights = match need(method) {
            Need::Nothing => return Ok(()),
            Need::Owner => return denied("the method"),
            Need::Account(rights) | Need::Asset(rights) | Need::Contract(rights) => rights,
        };
        if !has("account", &grant.accounts) {
            return denied("the account");
        }
        match need(method) {
            Need::Asset(_) if !grant.asset => return denied("the built-in asset"),
            Need::Contract(_) if !has("contract", &grant.contracts) => {
                return denied("the contract");
            }
            _ => {}
        }
        if rights > grant.rights {
            return denied("to spend");
        }
        if KEYED.contains(&method) && parameters.get("idempotency_key").is_none_or(Value::is_null) {
            return denied("a payment without idempotency_key");
        }
        Ok(())
    }

    /// The part of a method's result that the caller may see.
    pub(super) fn narrow(&self, method: &str, mut result: Value) -> Value {
        let Self::App(grant) = self else { return result };
        let granted = match method {
            "pxe_accounts" => &grant.accounts,
            "pxe_contracts" => &grant.contracts,
            "pxe_capabilities" => return grant.capabilities(),
            "pxe_status" => {
                if let Some(status) = result.as_object_mut() {
                    status.insert("accounts".to_owned(), json!(grant.accounts.len()));
                }
                return result;
            }
            _ => return result,
        };
        if let Some(list) = result.as_array_mut() {
            list.retain(|one| {
                let address = one["address"].as_str();
                address.is_some_and(|address| granted.iter().any(|own| own == address))
            });
            // Whose contract it is, and which accounts have one seed and how many there are.
            for one in list {
                if method == "pxe_accounts"
                    && let Some(one) = one.as_object_mut()
                {
                    for hidden in ["seed", "index"] {
                        one.insert(hidden.to_owned(), Value::Null);
                    }
                }
                let is_hidden = one
                    .get("account")
                    .and_then(Value::as_str)
                    .is_some_and(|account| grant.accounts.iter().all(|own| own != account));
                if let (true, Some(one)) = (is_hidden, one.as_object_mut()) {
                    one.insert("account".to_owned(), Value::Null);
                }
            }
        }
        result
    }
}

impl Grant {
    /// The key of the application's own under which the wallet keeps one of its orders.
    fn own_key(&self, key: &str) -> String {
        let mut hasher = Sha256::new();
        hasher.update(self.name.as_bytes());
        // No name has this byte.
        hasher.update([0u8]);
        hasher.update(key.as_bytes());
        let digits = hex::encode(&hasher.finalize()[..]);
        format!("{OF_APP}{digits:.KEY_DIGITS$}")
    }

    fn capabilities(&self) -> Value {
        json!({
            "app": self.name,
            "accounts": self.accounts,
            "contracts": self.contracts,
            "asset": self.asset,
            "rights": self.rights,
        })
    }
}

/// The grants of a file. It has tokens, so nobody else may read it.
fn read(path: &Path) -> Result<Vec<Grant>, PxeError> {
    let wrong = |why: String| PxeError::Apps { path: path.display().to_string(), why };
    let unread = |error: std::io::Error| wrong(rollmill_errors::InWords(&error).to_string());
    let file = std::fs::File::open(path).map_err(unread)?;
    let found = file.metadata().map_err(unread)?;
    if found.permissions().mode() & 0o077 != 0 {
        return Err(wrong("others can read it; use chmod 600".to_owned()));
    }
    let mut text = String::new();
    file.take(FILE_BYTES_MAX).read_to_string(&mut text).map_err(unread)?;
    grants(&text).map_err(wrong)
}

fn grants(text: &str) -> Result<Vec<Grant>, String> {
    // The parser's own text may repeat a part of a token.
    let written: Vec<Written> = serde_json::from_str(text).map_err(|error| {
        format!("line {}: a list of grants expected, as the book describes", error.line())
    })?;
    let mut grants: Vec<Grant> = Vec::new();
    for one in written {
        let name = &one.name;
        let is_plain = |c: char| c.is_ascii_alphanumeric() || "-_. ".contains(c);
        if name.is_empty() || name.len() > NAME_LENGTH_MAX || !name.chars().all(is_plain) {
            return Err(
                "name: 1 to 64 ASCII letters, digits, '-', '_', '.' or spaces expected".into()
            );
        }
        if one.token.trim().len() < TOKEN_LENGTH_MIN {
            return Err(format!(
                "{name}: a token of {TOKEN_LENGTH_MIN} characters or more expected"
            ));
        }
        // What no header can carry opens nothing.
        if !one.token.trim().bytes().all(|byte| (0x20..0x7f).contains(&byte)) {
            return Err(format!("{name}: a token of visible ASCII characters expected"));
        }
        let is_taken = grants
            .iter()
            .any(|other| other.name == *name || other.token.reveal().trim() == one.token.trim());
        if is_taken {
            return Err(format!("{name}: another application has the name or the token"));
        }
        for text in &one.origins {
            origin::origin(text).map_err(|why| format!("{name}: {why}"))?;
        }
        let shown = |of: Value| of.as_str().unwrap_or_default().to_owned();
        grants.push(Grant {
            name: one.name,
            token: Secret::generated(one.token),
            origins: one.origins,
            accounts: one.accounts.iter().map(|address| address.0.to_string()).collect(),
            contracts: one.contracts.iter().map(|address| shown(json!(address))).collect(),
            known: one.accounts.iter().map(|address| Account(address.0.to_field())).collect(),
            asset: one.asset,
            rights: one.rights,
        });
    }
    Ok(grants)
}

#[cfg(test)]
mod tests {
    use super::super::api::methods;
    use super::*;

    const ADDRESS: &str = "0x00000000000000000000000000000000000000000000000000000000000000ab";

    fn one(changed: &str) -> String {
        let token = "t".repeat(TOKEN_LENGTH_MIN);
        format!(
            r#"{{ "name": "shop", "token": "{token}", "accounts": [], "rights": "read" {changed} }}"#
        )
    }

    #[test]
    fn a_grant_that_says_something_unknown_or_unsafe_is_rejected() {
        let good = one(&format!(r#", "contracts": ["{ADDRESS}"], "origins": ["https://a.b"]"#));
        let access = Access::parse(&[], &format!("[{good}]")).unwrap();
        assert_eq!(access.origins(), ["https://a.b"]);
        for (text, part) in [
            ("{".to_owned(), "line 1"),
            (format!("[{}]", one(r#", "all": true"#)), "line 1"),
            (format!("[{}]", one(r#", "contracts": ["0x1"]"#)), "line 1"),
            (format!("[{}]", one(r#", "origins": ["null"]"#)), "not an origin"),
            (format!("[{}, {}]", one(""), one("")), "another application"),
            (format!("[{}]", one("").replace("shop", "sh\u{2028}op")), "name:"),
            (format!("[{}]", one("").replace("tttt", "t")), "32 characters"),
            (format!("[{}]", one("").replace("tttttttt", "tttttttté")), "visible ASCII"),
            (format!("[{}]", one("").replace("tttttttt", "tttttttt\\n")), "visible ASCII"),
            (format!("[{}]", one("").replace("read", "admin")), "line 1"),
        ] {
            let why = Access::parse(&[], &text).unwrap_err();
            assert!(why.contains(part), "{text}: {why}");
            assert!(!why.contains("tttt"), "{why}");
        }
    }

    /// Goal: an application never has the rights of the owner, by whatever token.
    #[test]
    fn an_application_with_the_token_of_the_owner_is_rejected_and_has_its_own_rights() {
        let access = Access::parse(&[], &format!("[{}]", one(""))).unwrap();
        let token = "t".repeat(TOKEN_LENGTH_MIN);
        let owner = Secret::generated(format!(" {token}\n"));
        assert!(access.check_owner(&owner).unwrap_err().contains("shop"));
        let other = Secret::generated("o".repeat(TOKEN_LENGTH_MIN));
        assert_eq!(access.check_owner(&other), Ok(()));
        let mut headers = HeaderMap::new();
        let bearer = format!("Bearer {token}").parse().unwrap();
        headers.insert(axum::http::header::AUTHORIZATION, bearer);
        for owner in [&owner, &other] {
            let caller = access.caller(owner, &headers).unwrap();
            assert!(matches!(caller, Caller::App(_)), "{caller:?}");
            assert!(caller.check("pxe_claim", &json!({})).is_err());
        }
    }

    #[test]
    fn an_application_does_not_see_of_which_seed_an_account_is() {
        let address = crate::keys::Keys::from_seed(&[1; 32]).address().to_string();
        let granted = format!("[{}]", one("").replace("[]", &format!("[\"{address}\"]")));
        let access = Access::parse(&[], &granted).unwrap();
        let caller = Caller::App(&access.grants[0]);
        let mut own = json!({ "address": address, "label": "a", "seed": 1, "index": 7 });
        let other = json!({ "address": "rollmill1x", "label": "b", "seed": 1, "index": 8 });
        let all = json!([own, other]);
        (own["seed"], own["index"]) = (Value::Null, Value::Null);
        let expected = json!([own]);
        assert_eq!(caller.narrow("pxe_accounts", all.clone()), expected);
        assert_eq!(Caller::Owner.narrow("pxe_accounts", all.clone()), all);
    }

    /// Goal: an application's key is that of no other program. Method: each part of it is another one.
    #[test]
    fn the_keys_of_an_application_are_its_own() {
        let two = one("").replace("shop", "bank").replace("ttt", "uuu");
        let access = Access::parse(&[], &format!("[{}, {two}]", one(""))).unwrap();
        let [shop, bank] = &access.grants[..] else { panic!("two") };
        let given = |key: &str| json!({ "idempotency_key": key, "amount": "5" });
        let own = |caller: Caller<'_>, method: &str, key: &str| {
            let parameters = caller.own_keys(method, given(key));
            assert_eq!(parameters["amount"], "5");
            parameters["idempotency_key"].as_str().unwrap().to_owned()
        };
        let key = own(Caller::App(shop), "pxe_transfer", "invoice-117");
        assert!(key.parse::<IdempotencyKey>().is_ok() && key.starts_with(OF_APP), "{key}");
        assert_eq!(key.len(), 64);
        assert_eq!(own(Caller::App(shop), "pxe_withdraw", "invoice-117"), key);
        assert_ne!(own(Caller::App(shop), "pxe_transfer", "invoice-118"), key);
        assert_ne!(own(Caller::App(bank), "pxe_transfer", "invoice-117"), key);
        assert_ne!(own(Caller::App(shop), "pxe_transfer", &key), key);
        assert_eq!(own(Caller::Owner, "pxe_transfer", "invoice-117"), "invoice-117");
        // What is no key is rejected as it is.
        assert_eq!(own(Caller::App(shop), "pxe_transfer", "short"), "short");
        assert_eq!(Caller::App(shop).own_keys("pxe_call", json!([1])), json!([1]));
    }

    #[test]
    fn a_file_that_others_can_read_is_rejected() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("apps.json");
        std::fs::write(&path, format!("[{}]", one(""))).unwrap();
        for (mode, is_good) in [(0o600, true), (0o400, true), (0o640, false), (0o604, false)] {
            std::fs::set_permissions(&path, std::fs::Permissions::from_mode(mode)).unwrap();
            assert_eq!(Access::new(&[], Some(&path)).is_ok(), is_good, "{mode:o}");
        }
        assert!(Access::new(&[], Some(&folder.path().join("none"))).is_err());
    }

    /// Goal: a new method is decided on. Method: the list of those that applications have.
    #[test]
    fn each_method_is_the_owners_or_has_a_need() {
        let owners: Vec<&str> = methods()
            .iter()
            .map(|method| method.name)
            .filter(|name| need(name) == Need::Owner)
            .collect();
        assert_eq!(owners, ["pxe_claim", "pxe_registerContract", "pxe_history"]);
        for keyed in KEYED {
            let method = methods().into_iter().find(|method| method.name == keyed).unwrap();
            assert!(method.parameters.iter().any(|member| member.name == "idempotency_key"));
        }
    }
}
