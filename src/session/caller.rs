//! Who calls: a `ServiceAccount`, in a pod where its token is bound to one, as the API server has
//! reviewed it. Nothing here is taken from the token itself.

use std::collections::BTreeMap;

use aws_lc_rs::digest;
use k8s_openapi::api::authentication::v1::{TokenReviewStatus, UserInfo};

use crate::policy::pattern::is_dns_name;

/// The one audience whose tokens are taken: a token made for something else is not for us.
pub const AUDIENCE: &str = "tenantkms.dev";

const POD_NAME: &str = "authentication.kubernetes.io/pod-name";
const POD_UID: &str = "authentication.kubernetes.io/pod-uid";
const PREFIX: &str = "system:serviceaccount:";

/// For one value of a review, and for all of one caller together: what is remembered is bounded.
const MAX_VALUE: usize = 512;
const MAX_TOTAL: usize = 4096;

/// `namespace/name` of one `ServiceAccount`.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct ServiceAccount {
    pub namespace: String,
    pub name: String,
}

/// The pod that a token is bound to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Pod {
    pub name: String,
    pub uid: String,
}

/// A caller as the API server knows it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Caller {
    username: String,
    uid: String,
    groups: Vec<String>,
    extra: BTreeMap<String, Vec<String>>,
    service_account: ServiceAccount,
    pod: Option<Pod>,
    digest: [u8; 32],
}

/// Why a review names nobody who may call.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Nobody {
    /// The API server does not know the token, or not for this audience.
    Rejected,
    /// A person, a node or another user, and no `ServiceAccount`.
    NotServiceAccount,
    /// More than is remembered, or not of the form that the API server gives.
    Unusable,
}

impl Caller {
    pub fn reviewed(status: TokenReviewStatus) -> Result<Self, Nobody> {
        let meant = |audiences: Vec<String>| audiences.iter().any(|one| one == AUDIENCE);
        // A server that names no audience has not looked at ours.
        if status.authenticated != Some(true) || !status.audiences.is_some_and(meant) {
            return Err(Nobody::Rejected);
        }
        Self::of(status.user.ok_or(Nobody::Unusable)?)
    }

    fn of(user: UserInfo) -> Result<Self, Nobody> {
        let username = user.username.unwrap_or_default();
        let uid = user.uid.unwrap_or_default();
        let groups = user.groups.unwrap_or_default();
        let extra = user.extra.unwrap_or_default();
        let service_account = service_account(&username)?;
        if uid.is_empty() || !is_bounded(&username, &uid, &groups, &extra) {
            return Err(Nobody::Unusable);
        }
        let pod = pod(&extra)?;
        let pod_uid = pod.as_ref().map_or("", |pod| &pod.uid);
        Ok(Self {
            digest: length_prefixed_digest(&[
                username.as_bytes(),
                uid.as_bytes(),
                pod_uid.as_bytes(),
            ]),
            username,
            uid,
            groups,
            extra,
            service_account,
            pod,
        })
    }

    pub fn username(&self) -> &str {
        &self.username
    }

    pub fn uid(&self) -> &str {
        &self.uid
    }

    pub fn groups(&self) -> &[String] {
        &self.groups
    }

    pub fn extra(&self) -> &BTreeMap<String, Vec<String>> {
        &self.extra
    }

    pub fn service_account(&self) -> &ServiceAccount {
        &self.service_account
    }

    pub fn pod(&self) -> Option<&Pod> {
        self.pod.as_ref()
    }

    /// What a session is bound to: SHA-256 over user name, uid and the pod's uid (empty without a
    /// pod), each preceded by its length. A `ServiceAccount` or pod of the same name that was
    /// made again is another caller.
    pub fn digest(&self) -> [u8; 32] {
        self.digest
    }
}

fn service_account(username: &str) -> Result<ServiceAccount, Nobody> {
    let rest = username.strip_prefix(PREFIX);
    let parts = rest.and_then(|rest| rest.split_once(':'));
    let (namespace, name) = parts.ok_or(Nobody::NotServiceAccount)?;
    if namespace.contains('.') || !is_dns_name(namespace) || !is_dns_name(name) {
        return Err(Nobody::NotServiceAccount);
    }
    Ok(ServiceAccount {
        namespace: namespace.to_owned(),
        name: name.to_owned(),
    })
}

/// Half a pod is none to bind a session to, and so is one of two.
fn pod(extra: &BTreeMap<String, Vec<String>>) -> Result<Option<Pod>, Nobody> {
    match (extra.get(POD_NAME), extra.get(POD_UID)) {
        (None, None) => Ok(None),
        (Some(names), Some(uids)) => match (names.as_slice(), uids.as_slice()) {
            ([name], [uid]) if !name.is_empty() && !uid.is_empty() => Ok(Some(Pod {
                name: name.clone(),
                uid: uid.clone(),
            })),
            _ => Err(Nobody::Unusable),
        },
        _ => Err(Nobody::Unusable),
    }
}

fn is_bounded(
    username: &str,
    uid: &str,
    groups: &[String],
    extra: &BTreeMap<String, Vec<String>>,
) -> bool {
    /// What a value costs besides its text.
    const EACH: usize = 24;
    let groups = groups.iter().map(String::len);
    let extra = extra
        .iter()
        .flat_map(|(key, values)| std::iter::once(key.len()).chain(values.iter().map(String::len)));
    let lengths = [username.len(), uid.len()].into_iter();
    let mut total = 0;
    lengths.chain(groups).chain(extra).all(|length| {
        total += length + EACH;
        length <= MAX_VALUE && total <= MAX_TOTAL
    })
}

/// SHA-256 over parts of which each is preceded by its length.
pub(crate) fn length_prefixed_digest(parts: &[&[u8]]) -> [u8; 32] {
    let mut sha = digest::Context::new(&digest::SHA256);
    for part in parts {
        sha.update(&(part.len() as u64).to_be_bytes());
        sha.update(part);
    }
    let mut out = [0; 32];
    out.copy_from_slice(sha.finish().as_ref());
    out
}

#[cfg(test)]
pub mod tests {
    use serde_json::{Value, json};

    use super::*;
    use crate::random::encode_hex;

    /// What the API server answers to a token of a pod.
    pub fn answer() -> Value {
        json!({
            "authenticated": true,
            "audiences": ["other", AUDIENCE],
            "user": {
                "username": "system:serviceaccount:apps:backend",
                "uid": "1a1a",
                "groups": ["system:serviceaccounts", "system:authenticated"],
                "extra": { POD_NAME: ["backend-0"], POD_UID: ["2b2b"] },
            },
        })
    }

    pub fn read(answer: Value) -> Result<Caller, Nobody> {
        Caller::reviewed(serde_json::from_value(answer).expect("a status"))
    }

    fn with(pointer: &str, value: Value) -> Result<Caller, Nobody> {
        let mut answer = answer();
        *answer.pointer_mut(pointer).expect("is there") = value;
        read(answer)
    }

    #[test]
    fn a_service_account_in_a_pod_is_a_caller() {
        let caller = read(answer()).expect("a caller");
        assert_eq!(caller.service_account().namespace, "apps");
        assert_eq!(caller.service_account().name, "backend");
        let pod = caller.pod().expect("a pod");
        assert_eq!((pod.name.as_str(), pod.uid.as_str()), ("backend-0", "2b2b"));
        assert_eq!(caller.groups().len(), 2);
        let without = with("/user/extra", json!({})).expect("a caller");
        assert_eq!(without.pod(), None);
        assert_ne!(without.digest(), caller.digest());
    }

    #[test]
    fn nobody_else_is() {
        use Nobody::{NotServiceAccount, Rejected, Unusable};
        let long = "x".repeat(MAX_VALUE + 1);
        let many = vec!["x".repeat(MAX_VALUE); 8];
        for (pointer, value, expected) in [
            ("/authenticated", json!(false), Rejected),
            ("/authenticated", json!(null), Rejected),
            ("/audiences", json!(null), Rejected),
            ("/audiences", json!([]), Rejected),
            ("/audiences", json!(["tenantkms.dev.evil"]), Rejected),
            ("/user", json!(null), Unusable),
            ("/user/uid", json!(""), Unusable),
            ("/user/uid", json!(null), Unusable),
            ("/user/uid", json!(long), Unusable),
            ("/user/username", json!("jane"), NotServiceAccount),
            ("/user/username", json!(null), NotServiceAccount),
            (
                "/user/username",
                json!("system:serviceaccount:apps"),
                NotServiceAccount,
            ),
            (
                "/user/username",
                json!("system:serviceaccount:apps:a:b"),
                NotServiceAccount,
            ),
            (
                "/user/username",
                json!("system:serviceaccount:a.b:c"),
                NotServiceAccount,
            ),
            (
                "/user/username",
                json!("system:serviceaccount:apps:"),
                NotServiceAccount,
            ),
            ("/user/groups", json!([long]), Unusable),
            ("/user/groups", json!(many), Unusable),
            ("/user/groups", json!(vec![""; 200]), Unusable),
            ("/user/extra", json!({ "a": [long] }), Unusable),
            ("/user/extra", json!({ long: [] }), Unusable),
            ("/user/extra", json!({ POD_UID: ["2b2b"] }), Unusable),
            ("/user/extra", json!({ POD_NAME: ["backend-0"] }), Unusable),
            (
                "/user/extra",
                json!({ POD_NAME: ["a"], POD_UID: ["1", "2"] }),
                Unusable,
            ),
            (
                "/user/extra",
                json!({ POD_NAME: ["a"], POD_UID: [""] }),
                Unusable,
            ),
        ] {
            assert_eq!(
                with(pointer, value.clone()),
                Err(expected),
                "{pointer} {value}"
            );
        }
    }

    #[test]
    fn the_digest_is_of_each_part_with_its_length() {
        // Python: sha256(b"".join(len(p).to_bytes(8, "big") + p for p in (b"system:serviceaccount:
        // apps:backend", b"1a1a", b"2b2b"))), the name on one line.
        let caller = read(answer()).expect("a caller");
        assert_eq!(
            encode_hex(&caller.digest()),
            "3d80390bafa37509fa1cbf7d9cef0959537513cadbe1eb60bd555af7352cf0b7"
        );
        let moved = [
            ["ab", "c", "d"],
            ["a", "bc", "d"],
            ["ab", "cd", ""],
            ["ab", "", "cd"],
        ]
        .map(|parts| length_prefixed_digest(&parts.map(str::as_bytes)));
        for (i, one) in moved.iter().enumerate() {
            assert!(!moved[..i].contains(one), "{i}");
        }
    }
}
