//! Access keys and whom they stand for. A temporary one ends; none is ever given out twice.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;

use crate::aws::region::account;
use crate::crypto::{random, random_vec};

/// What a user signs with.
#[derive(Debug, Clone)]
pub struct AccessKey {
    pub id: String,
    pub secret: String,
}

/// What STS, the metadata service or IAM gave out.
#[derive(Debug, Clone)]
pub(crate) struct Credential {
    pub(crate) secret: String,
    /// What a temporary one must be shown with.
    pub(crate) token: Option<String>,
    pub(crate) caller: Caller,
    /// In Unix seconds.
    pub(crate) expires: Option<u64>,
}

/// Who signed a request.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Caller {
    /// The ARN of the user or the role.
    pub(crate) principal: String,
    /// The session's name, where it is a role's.
    pub(crate) session: Option<String>,
}

impl Caller {
    pub(crate) fn account(&self) -> &str {
        account(&self.principal)
    }

    pub(crate) fn partition(&self) -> &str {
        self.principal.split(':').nth(1).unwrap_or_default()
    }

    /// As `GetCallerIdentity` and every refusal write it.
    pub(crate) fn arn(&self) -> String {
        match &self.session {
            None => self.principal.clone(),
            Some(session) => format!(
                "arn:{}:sts::{}:assumed-role/{}/{session}",
                self.partition(),
                self.account(),
                role_name(&self.principal)
            ),
        }
    }
}

/// A role's name without its path.
pub(crate) fn role_name(arn: &str) -> &str {
    arn.rsplit('/').next().unwrap_or_default()
}

impl Credential {
    pub(crate) fn long_term(arn: &str) -> (String, Self) {
        let caller = Caller {
            principal: arn.to_owned(),
            session: None,
        };
        (
            identifier("AKIA"),
            Self {
                secret: STANDARD.encode(random::<30>()),
                token: None,
                caller,
                expires: None,
            },
        )
    }

    pub(crate) fn temporary(role: &str, session: &str, expires: u64) -> (String, Self) {
        let caller = Caller {
            principal: role.to_owned(),
            session: Some(session.to_owned()),
        };
        (
            identifier("ASIA"),
            Self {
                secret: STANDARD.encode(random::<30>()),
                token: Some(STANDARD.encode(random_vec(330))),
                caller,
                expires: Some(expires),
            },
        )
    }
}

/// A unique id as IAM makes them: a kind and 16 capital letters and digits.
pub(crate) fn identifier(kind: &str) -> String {
    const LETTERS: &[u8; 32] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZ234567";
    let tail = random::<16>().map(|byte| char::from(LETTERS[usize::from(byte % 32)]));
    tail.iter()
        .fold(kind.to_owned(), |id, letter| format!("{id}{letter}"))
}
