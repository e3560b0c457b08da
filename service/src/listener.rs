//! The settings that protect an address on which a process serves requests.

use std::path::{Path, PathBuf};

use rollmill_net::PemError;

use crate::Conflict;

/// What protects an address on which a process serves requests. [`crate::listener_settings!`] declares its
/// settings.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Protection {
    /// The table of the settings, with its dot: `node.`.
    pub table: &'static str,
    /// File of the certificate chain; plain HTTP without one.
    pub cert: Option<PathBuf>,
    /// File of the certificate's key.
    pub key: Option<PathBuf>,
    /// File of the authorities one of which must have signed the certificate of each client.
    pub client_ca: Option<PathBuf>,
    /// Names of the server beside those in its address.
    pub hosts: Vec<String>,
}

impl Protection {
    /// The files of certificate and key.
    pub(crate) fn identity(&self) -> Option<(&Path, &Path)> {
        Some((self.cert.as_deref()?, self.key.as_deref()?))
    }

    /// Whether the address serves TLS.
    pub fn has_tls(&self) -> bool {
        self.identity().is_some()
    }

    /// The scheme of its URLs.
    pub fn scheme(&self) -> &'static str {
        if self.has_tls() { "https" } else { "http" }
    }

    /// The setting that names the file of an error.
    pub(crate) fn setting(&self, error: &PemError) -> String {
        let names = ["listen_tls_cert", "listen_tls_key", "listen_client_ca"];
        let names = names.map(|name| format!("{}{name}", self.table));
        let [cert, key, client_ca] = names.each_ref().map(String::as_str);
        error.settings(&[(cert, &self.cert), (key, &self.key), (client_ca, &self.client_ca)])
    }

    /// Rejects a certificate without its key, and the reverse.
    ///
    /// # Errors
    /// The settings that exclude each other. `keys` are those of certificate, key and authority.
    pub fn check(&self, keys: [&'static str; 3]) -> Result<(), Conflict> {
        let [cert, key, client_ca] = keys;
        if self.cert.is_some() != self.key.is_some() {
            let why = "a certificate is served with its key; set both or none";
            return Err(Conflict::new(&[cert, key], why));
        }
        if self.client_ca.is_some() && self.cert.is_none() {
            let why = format!("clients present certificates only over TLS; set {cert} and {key}");
            return Err(Conflict::new(&[client_ca, cert], why));
        }
        Ok(())
    }
}

/// Declares the settings that protect an address: a struct for clap's `flatten`, with the keys
/// `listen_tls_cert`, `listen_tls_key`, `listen_client_ca` and `listen_hosts` in a table.
///
/// ```
/// rollmill_service::listener_settings! {
///     /// Settings that protect the address `node.listen`.
///     pub struct ListenConfig: "node.", "Node"
/// }
/// #[derive(Clone, Debug, clap::Args)]
/// struct Config {
///     #[command(flatten)]
///     protection: ListenConfig,
/// }
/// # impl rollmill_service::Settings for Config {}
/// let config: Config = rollmill_service::defaults();
/// assert_eq!(config.protection.protection().scheme(), "http");
/// ```
#[macro_export]
macro_rules! listener_settings {
    ($(#[$meta:meta])* $vis:vis struct $name:ident: $table:literal, $heading:literal) => {
        $(#[$meta])*
        #[derive(Clone, Debug, Default, PartialEq, Eq, clap::Args)]
        // A program may have several listeners, and groups of arguments need different names.
        #[group(skip)]
        $vis struct $name {
            /// Serve TLS with the certificate chain in this PEM file [default: none, plain HTTP]
            ///
            /// The file is read again each minute and at SIGHUP, so that a renewed certificate needs no
            /// restart.
            #[arg(id = concat!($table, "listen_tls_cert"), long, value_name = "FILE", help_heading = $heading)]
            $vis listen_tls_cert: Option<std::path::PathBuf>,

            /// PEM file with the private key of `listen_tls_cert` [default: none]
            #[arg(id = concat!($table, "listen_tls_key"), long, value_name = "FILE", help_heading = $heading)]
            $vis listen_tls_key: Option<std::path::PathBuf>,

            /// Require clients to present a certificate of an authority in this PEM file [default: none is required]
            #[arg(id = concat!($table, "listen_client_ca"), long, value_name = "FILE", help_heading = $heading)]
            $vis listen_client_ca: Option<std::path::PathBuf>,

            /// Further host names of this server, beside localhost and the host in its address [default: none]
            ///
            /// A request by plain HTTP to any other name is rejected, so that a page in a browser cannot point a name
            /// of its own at this server. IP addresses are always accepted.
            #[arg(id = concat!($table, "listen_hosts"), long, value_name = "HOST,...", help_heading = $heading)]
            #[arg(default_value = "", hide_default_value = true, value_parser = $crate::values::hosts)]
            $vis listen_hosts: $crate::values::Hosts,
        }

        impl $name {
            /// What the settings mean.
            $vis fn protection(&self) -> $crate::Protection {
                $crate::Protection {
                    table: $table,
                    cert: self.listen_tls_cert.clone(),
                    key: self.listen_tls_key.clone(),
                    client_ca: self.listen_client_ca.clone(),
                    hosts: self.listen_hosts.clone(),
                }
            }

            /// Rejects a certificate without its key, and the reverse.
            ///
            /// # Errors
            /// The settings that exclude each other.
            $vis fn check(&self) -> Result<(), $crate::Conflict> {
                self.protection().check([
                    concat!($table, "listen_tls_cert"),
                    concat!($table, "listen_tls_key"),
                    concat!($table, "listen_client_ca"),
                ])
            }
        }
    };
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_certificate_goes_with_its_key_and_an_authority_of_clients_with_both() {
        let keys = ["cert", "key", "client_ca"];
        let file = || Some(PathBuf::from("file"));
        for (cert, key, client_ca, expected) in [
            (None, None, None, None),
            (file(), file(), None, None),
            (file(), file(), file(), None),
            (file(), None, None, Some(["cert", "key"])),
            (None, file(), None, Some(["cert", "key"])),
            (None, None, file(), Some(["client_ca", "cert"])),
        ] {
            let protection = Protection { cert, key, client_ca, ..Protection::default() };
            let found = protection.check(keys).err();
            assert_eq!(found.is_some(), expected.is_some(), "{protection:?}");
            let named = expected.map(|keys| format!("keys: {keys:?}")).unwrap_or_default();
            assert!(format!("{found:?}").contains(&named), "{found:?}");
        }
    }
}
