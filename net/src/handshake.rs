//! Failed TLS handshakes in words.

use rustls::{AlertDescription as Alert, CertificateError, Error};

/// Why a connection to a TLS server failed, in a few words, and what to do.
pub(crate) fn of_client(error: &Error) -> String {
    match error {
        Error::InvalidCertificate(certificate) => of_certificate(certificate),
        Error::AlertReceived(alert) => of_alert(*alert),
        Error::InvalidMessage(_) | Error::InappropriateMessage { .. } => {
            "what listens there does not speak TLS; use http://, or enable TLS there".to_owned()
        }
        Error::PeerIncompatible(_) => {
            "the server supports no version or algorithm of TLS that this client has".to_owned()
        }
        Error::NoCertificatesPresented => "the server sent no certificate".to_owned(),
        // What our own checks report is written for a reader.
        Error::General(text) => text.clone(),
        other => format!("the TLS handshake failed ({other})"),
    }
}

fn of_certificate(error: &CertificateError) -> String {
    match error {
        CertificateError::UnknownIssuer => {
            "its certificate is of an authority that is not trusted here; set --tls-ca to the authority's certificate".to_owned()
        }
        CertificateError::NotValidForName => {
            "its certificate is for another host; correct the host in the URL, or the certificate".to_owned()
        }
        CertificateError::NotValidForNameContext { expected, presented } => {
            let names = presented.iter().take(8).map(|name| bare_name(name)).collect::<Vec<_>>().join(", ");
            let names = if names.is_empty() { "no host".to_owned() } else { names };
            format!(
                "its certificate is for {names} and not for {}; correct the host in the URL, or the certificate",
                expected.to_str()
            )
        }
        CertificateError::Expired | CertificateError::ExpiredContext { .. } => {
            "its certificate has expired; renew it, or correct this machine's clock".to_owned()
        }
        CertificateError::NotValidYet | CertificateError::NotValidYetContext { .. } => {
            "its certificate is not valid yet; correct this machine's clock".to_owned()
        }
        CertificateError::Revoked => "its certificate is revoked".to_owned(),
        other if other.to_string().contains("CaUsedAsEndEntity") => {
            "its certificate is that of an authority; give the server one that the authority signed".to_owned()
        }
        other => format!("its certificate is not accepted ({other})"),
    }
}

/// A name as the certificate has it: rustls shows `DnsName("a")` and `IpAddress(…)`.
fn bare_name(shown: &str) -> &str {
    shown.split_once('(').map_or(shown, |(_, rest)| rest.trim_end_matches(')').trim_matches('"'))
}

/// The server's verdict on what this client presented.
fn of_alert(alert: Alert) -> String {
    match alert {
        Alert::CertificateRequired => {
            "the server requires a client certificate; set --tls-cert and --tls-key".to_owned()
        }
        Alert::UnknownCA => {
            "the server rejects this client's certificate: it is of an authority that the server does not trust; correct --tls-cert".to_owned()
        }
        Alert::CertificateExpired => {
            "the server rejects this client's certificate: it has expired; renew the file of --tls-cert".to_owned()
        }
        Alert::BadCertificate
        | Alert::UnsupportedCertificate
        | Alert::CertificateRevoked
        | Alert::CertificateUnknown
        | Alert::AccessDenied
        | Alert::DecryptError => {
            format!("the server rejects this client's certificate ({alert:?}); correct --tls-cert")
        }
        Alert::HandshakeFailure | Alert::ProtocolVersion => {
            "the server supports no version or algorithm of TLS that this client has, or requires a client certificate (--tls-cert)".to_owned()
        }
        Alert::UnrecognisedName => "the server has no certificate for this host".to_owned(),
        other => format!("the server ended the TLS handshake ({other:?})"),
    }
}

/// Why a handshake with a client failed, in a few words for a log.
pub fn of_server(error: &Error) -> String {
    match error {
        Error::NoCertificatesPresented => "the client presented no certificate".to_owned(),
        Error::InvalidCertificate(CertificateError::UnknownIssuer) => {
            "the client's certificate is of an authority that listen_client_ca does not have"
                .to_owned()
        }
        Error::InvalidCertificate(
            CertificateError::Expired | CertificateError::ExpiredContext { .. },
        ) => "the client's certificate has expired".to_owned(),
        Error::InvalidCertificate(other) => {
            format!("the client's certificate is not accepted ({other})")
        }
        Error::AlertReceived(Alert::UnknownCA) => {
            "the client does not trust the authority of this server's certificate".to_owned()
        }
        Error::AlertReceived(alert) => format!("the client ended it ({alert:?})"),
        other => other.to_string(),
    }
}
