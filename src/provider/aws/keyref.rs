//! The key's ARN, read strictly: it decides the host, and stands in commands. Never repeats what it refuses.

use super::endpoint::Region;
use crate::api::{AwsSpec, Reason};
use crate::provider::Failure;
use crate::provider::answer::is_guid;

/// A key or an alias, as parsed from `spec.kmsKeyRef`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct KeyRef {
    /// As written: one key or alias has one spelling.
    pub arn: String,
    pub region: Region,
    pub account: String,
    pub names: Names,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Names {
    /// By its id.
    Key(String),
    /// By an alias, without `alias/`.
    Alias(String),
}

impl KeyRef {
    pub fn parse(text: &str) -> Result<Self, Failure> {
        if text.len() > 512 || !text.bytes().all(|b| b.is_ascii_graphic()) {
            return Err(invalid(
                "is over 512 characters or has characters that no ARN has",
            ));
        }
        let parts: Vec<&str> = text.split(':').collect();
        let ["arn", partition, "kms", region, account, resource] = parts[..] else {
            return Err(invalid("is no ARN of AWS KMS"));
        };
        let region = Region::of(partition, region).ok_or_else(|| {
            invalid(
                "has no region of one of the partitions aws, aws-cn and aws-us-gov in the place \
                 of the region",
            )
        })?;
        if !is_account(account) {
            return Err(invalid(
                "has no account of 12 digits in the place of the account",
            ));
        }
        let names = match resource.split_once('/') {
            Some(("key", id)) if is_key_id(id) => Names::Key(id.to_owned()),
            Some(("alias", name)) if name.starts_with("aws/") => {
                return Err(invalid(
                    "names a key that AWS manages, which cannot be shared with the platform",
                ));
            }
            Some(("alias", name)) if is_alias(name) => Names::Alias(name.to_owned()),
            _ => return Err(invalid("ends neither in key/ID nor in alias/NAME")),
        };
        Ok(Self {
            arn: text.to_owned(),
            region,
            account: account.to_owned(),
            names,
        })
    }

    /// `aws.region` is for readers, and must say the same.
    pub fn check_region(&self, spec: &AwsSpec) -> Result<(), Failure> {
        match &spec.region {
            Some(region) if *region != self.region.name => Err(Failure::misconfigured(
                Reason::InvalidKeyRef,
                format!(
                    "spec.aws.region is not the region of spec.kmsKeyRef. Leave it out, or write \
                     '{}': kubectl explain tenantkms.spec.aws.region",
                    self.region.name
                ),
            )),
            _ => Ok(()),
        }
    }

    /// Another key of the same account and region, by its ARN: what an alias of it may name.
    pub fn sibling(&self, arn: &str) -> Option<Self> {
        let other = Self::parse(arn).ok()?;
        let beside = other.region == self.region && other.account == self.account;
        (beside && matches!(other.names, Names::Key(_))).then_some(other)
    }

    pub fn is_alias(&self) -> bool {
        matches!(self.names, Names::Alias(_))
    }

    /// The key's id; of an alias, nothing that is a key's.
    pub fn id(&self) -> &str {
        match &self.names {
            Names::Key(id) => id,
            Names::Alias(_) => "",
        }
    }
}

/// 12 digits.
pub fn is_account(text: &str) -> bool {
    text.len() == 12 && text.bytes().all(|b| b.is_ascii_digit())
}

/// A UUID in small letters, or `mrk-` and 32 hexadecimal digits.
fn is_key_id(text: &str) -> bool {
    let small = !text.bytes().any(|b| b.is_ascii_uppercase());
    let multi_region = text
        .strip_prefix("mrk-")
        .is_some_and(|id| id.len() == 32 && id.bytes().all(|b| b.is_ascii_hexdigit()));
    small && (is_guid(text) || multi_region)
}

fn is_alias(text: &str) -> bool {
    let plain = |b: u8| b.is_ascii_alphanumeric() || b"/_-".contains(&b);
    (1..=250).contains(&text.len()) && text.bytes().all(plain)
}

/// `arn:PARTITION:iam::ACCOUNT:role/NAME`, in the key's partition.
pub fn is_role(text: &str, partition: &str) -> bool {
    let plain = |b: u8| b.is_ascii_alphanumeric() || b"_+=,.@/-".contains(&b);
    let parts: Vec<&str> = text.split(':').collect();
    let ["arn", of, "iam", "", account, resource] = parts[..] else {
        return false;
    };
    let name = resource.strip_prefix("role/").unwrap_or_default();
    of == partition
        && is_account(account)
        && (1..=576).contains(&name.len())
        && name.bytes().all(plain)
        && !name.ends_with('/')
}

fn invalid(what: &str) -> Failure {
    Failure::misconfigured(
        Reason::InvalidKeyRef,
        format!(
            "spec.kmsKeyRef {what}. Write arn:aws:kms:REGION:ACCOUNT:key/ID, or …:alias/NAME, as \
             printed by: aws kms describe-key --key-id '<id or alias>' --query KeyMetadata.Arn \
             --output text"
        ),
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    const ID: &str = "1234abcd-12ab-34cd-56ef-1234567890ab";

    #[test]
    fn keys_and_aliases() {
        let before = "arn:aws:kms:eu-central-1:444455556666";
        let key = KeyRef::parse(&format!("{before}:key/{ID}")).expect("a key");
        assert_eq!((key.id(), key.account.as_str()), (ID, "444455556666"));
        let alias = KeyRef::parse(&format!("{before}:alias/acme/kek")).expect("an alias");
        assert!(alias.is_alias());
        assert_eq!(alias.sibling(&key.arn), Some(key.clone()));
        for other in [
            format!("arn:aws:kms:eu-west-1:444455556666:key/{ID}"),
            format!("arn:aws:kms:eu-central-1:444455556667:key/{ID}"),
            alias.arn.clone(),
            ID.to_owned(),
        ] {
            assert_eq!(alias.sibling(&other), None, "{other}");
        }
        let multi = format!("{before}:key/mrk-{}", "0".repeat(32));
        assert!(KeyRef::parse(&multi).is_ok());
        assert!(KeyRef::parse(&format!("arn:aws-cn:kms:cn-north-1:444455556666:key/{ID}")).is_ok());
    }

    #[test]
    fn nothing_else_gets_through() {
        for text in [
            format!("arn:aws:kms:cn-north-1:444455556666:key/{ID}"),
            format!("arn:aws-iso:kms:us-iso-east-1:444455556666:key/{ID}"),
            format!("arn:aws:s3:eu-central-1:444455556666:key/{ID}"),
            format!("arn:aws:kms:eu-central-1:44445555666:key/{ID}"),
            format!(
                "arn:aws:kms:eu-central-1:444455556666:key/{}",
                ID.to_uppercase()
            ),
            format!("arn:aws:kms:eu-central-1:444455556666:key/{ID}:x"),
            format!("arn:aws:kms:eu-central-1.evil.test/:444455556666:key/{ID}"),
            "arn:aws:kms:eu-central-1:444455556666:alias/aws/s3".to_owned(),
            "arn:aws:kms:eu-central-1:444455556666:alias/a'b".to_owned(),
            "arn:aws:kms:eu-central-1:444455556666:alias/".to_owned(),
            "arn:aws:kms:eu-central-1:444455556666:key/".to_owned(),
            "alias/acme".to_owned(),
            ID.to_owned(),
            "https://acme-kv.vault.azure.net/keys/a".to_owned(),
            String::new(),
        ] {
            let failure = KeyRef::parse(&text).expect_err(&text);
            assert_eq!(failure.reason, Reason::InvalidKeyRef, "{text}");
            assert!(
                text.is_empty() || !failure.message.contains(&text),
                "{text}"
            );
        }
    }

    #[test]
    fn the_region_must_say_the_same() {
        let key = KeyRef::parse(&format!("arn:aws:kms:eu-central-1:444455556666:key/{ID}"));
        let key = key.expect("a key");
        let check = |region: &str| {
            key.check_region(&AwsSpec {
                region: Some(region.to_owned()),
                ..AwsSpec::default()
            })
        };
        assert!(check("eu-central-1").is_ok());
        assert_eq!(
            check("eu-west-1").expect_err("another").reason,
            Reason::InvalidKeyRef
        );
    }

    #[test]
    fn roles_are_of_the_partition() {
        assert!(is_role(
            "arn:aws:iam::444455556666:role/byok/acme-kms",
            "aws"
        ));
        for (text, partition) in [
            ("arn:aws:iam::444455556666:role/acme", "aws-cn"),
            ("arn:aws:iam::444455556666:user/acme", "aws"),
            ("arn:aws:iam::444455556666:role/", "aws"),
            ("arn:aws:iam::444455556666:role/a'b", "aws"),
            ("arn:aws:sts::444455556666:assumed-role/a/b", "aws"),
            ("acme", "aws"),
        ] {
            assert!(!is_role(text, partition), "{text}");
        }
    }
}
