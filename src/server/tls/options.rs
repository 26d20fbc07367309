//! What the command line says of certificates.

use std::path::PathBuf;

use rustls::pki_types::ServerName;

/// More than any Service has; a certificate stays small.
const MOST_NAMES: usize = 32;
const MOST_NAMESPACES: usize = 64;

#[derive(Clone, Debug, Default, clap::Args)]
pub struct Options {
    /// The agent API's certificate and its chain (PEM), read again when they change. Without it the
    /// operator issues one itself, from a CA that it keeps in the records namespace.
    #[arg(
        long,
        value_name = "FILE",
        env = "TENANT_KMS_TLS_CERT",
        requires = "tls_key",
        conflicts_with = "tls_names"
    )]
    tls_cert: Option<PathBuf>,
    /// The private key of that certificate (PEM).
    #[arg(
        long,
        value_name = "FILE",
        env = "TENANT_KMS_TLS_KEY",
        requires = "tls_cert"
    )]
    tls_key: Option<PathBuf>,
    /// The DNS names and IP addresses in the certificate that the operator issues itself.
    #[arg(
        long,
        value_name = "NAME,…",
        env = "TENANT_KMS_TLS_NAMES",
        value_delimiter = ',',
        value_parser = name
    )]
    tls_names: Vec<String>,
    /// The namespaces that get the `ConfigMap` `tenant-kms-ca`: what clients trust of that CA.
    #[arg(
        long,
        value_name = "NS,…",
        env = "TENANT_KMS_CA_NAMESPACES",
        value_delimiter = ',',
        value_parser = namespace
    )]
    ca_namespaces: Vec<String>,
}

/// Options that say no certificate.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Misused {
    #[error("--tls-cert and --tls-key are given together or not at all")]
    Half,
    #[error(
        "the agent API needs a certificate: name it by --tls-cert and --tls-key, or say by \
         --tls-names for which DNS names and IP addresses the operator is to issue one"
    )]
    Nameless,
    #[error("--tls-names takes at most {MOST_NAMES} names, --ca-namespaces {MOST_NAMESPACES}")]
    TooMany,
}

/// Where the two files are.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Paths {
    pub certificate: PathBuf,
    pub key: PathBuf,
}

/// Where the certificate comes from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Source {
    Files(Paths),
    Own {
        names: Vec<String>,
        namespaces: Vec<String>,
    },
}

impl Options {
    pub fn source(&self) -> Result<Source, Misused> {
        match (&self.tls_cert, &self.tls_key) {
            (Some(certificate), Some(key)) => Ok(Source::Files(Paths {
                certificate: certificate.clone(),
                key: key.clone(),
            })),
            (None, None) => self.own(),
            _ => Err(Misused::Half),
        }
    }

    fn own(&self) -> Result<Source, Misused> {
        if self.tls_names.is_empty() {
            return Err(Misused::Nameless);
        }
        if self.tls_names.len() > MOST_NAMES || self.ca_namespaces.len() > MOST_NAMESPACES {
            return Err(Misused::TooMany);
        }
        let mut namespaces = self.ca_namespaces.clone();
        namespaces.sort_unstable();
        namespaces.dedup();
        Ok(Source::Own {
            names: self.tls_names.clone(),
            namespaces,
        })
    }
}

fn name(text: &str) -> Result<String, &'static str> {
    let lower = text.to_ascii_lowercase();
    match ServerName::try_from(lower.as_str()) {
        Ok(_) if !lower.ends_with('.') => Ok(lower),
        _ => {
            Err("neither a DNS name (without wildcard, without a dot at its end) nor an IP address")
        }
    }
}

fn namespace(text: &str) -> Result<String, &'static str> {
    let plain = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-';
    let label = (1..=63).contains(&text.len()) && text.bytes().all(plain);
    if label && !text.starts_with('-') && !text.ends_with('-') {
        Ok(text.to_owned())
    } else {
        Err("not the name of a namespace")
    }
}

#[cfg(test)]
mod tests {
    use clap::Parser;

    use super::*;

    #[derive(Parser)]
    struct Line {
        #[command(flatten)]
        tls: Options,
    }

    fn parsed(args: &[&str]) -> Result<Options, String> {
        let line = Line::try_parse_from([&["x"], args].concat());
        line.map(|line| line.tls).map_err(|error| error.to_string())
    }

    #[test]
    fn the_files_are_named_together_and_exclude_names() {
        let both = parsed(&["--tls-cert=a", "--tls-key=b"]).expect("valid");
        let paths = Paths {
            certificate: "a".into(),
            key: "b".into(),
        };
        assert_eq!(both.source(), Ok(Source::Files(paths)));
        for half in [
            &["--tls-cert=a"][..],
            &["--tls-key=b"],
            &["--tls-cert=a", "--tls-key=b", "--tls-names=c"],
        ] {
            assert!(parsed(half).is_err(), "{half:?}");
        }
        assert_eq!(Options::default().source(), Err(Misused::Nameless));
    }

    #[test]
    fn names_are_dns_names_or_addresses() {
        let good = [
            "--tls-names=Agent.ns.svc,10.0.0.1,::1",
            "--ca-namespaces=b,a,b",
        ];
        let own = Source::Own {
            names: ["agent.ns.svc", "10.0.0.1", "::1"]
                .map(String::from)
                .to_vec(),
            namespaces: ["a", "b"].map(String::from).to_vec(),
        };
        assert_eq!(parsed(&good).expect("valid").source(), Ok(own));
        for bad in [
            "*.ns.svc",
            "a b",
            "",
            "https://a",
            "a.",
            "a:443",
            "10.0.0.1/8",
        ] {
            assert!(parsed(&[&format!("--tls-names={bad}")]).is_err(), "{bad}");
        }
        for bad in ["A", "a.b", "-a", "a-", "", &"a".repeat(64)] {
            let set = format!("--ca-namespaces={bad}");
            assert!(parsed(&[&set, "--tls-names=a"]).is_err(), "{bad}");
        }
        let many = vec!["a"; MOST_NAMES + 1].join(",");
        let many = parsed(&[&format!("--tls-names={many}")]).expect("parsed");
        assert_eq!(many.source(), Err(Misused::TooMany));
    }
}
