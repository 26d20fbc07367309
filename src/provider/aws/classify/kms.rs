//! KMS's answers; docs.aws.amazon.com, AWS KMS API Reference, "Encrypt", "Decrypt" and "Common Errors", and
//! Developer Guide, "Key states of AWS KMS keys". A refusal counts as one only in the service's own
//! form: a proxy's 403 is nobody's no.

use crate::api::Reason;
use crate::provider::Failure;
use crate::provider::aws::said::Said;
use crate::provider::aws::subject::{Subject, Who, reach};

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Operation {
    Encrypt,
    Decrypt,
    Describe,
}

impl Operation {
    const fn name(self) -> &'static str {
        match self {
            Self::Encrypt => "Encrypt",
            Self::Decrypt => "Decrypt",
            Self::Describe => "DescribeKey",
        }
    }
}

/// What an answer that is no success means.
pub fn kms(operation: Operation, said: &Said, subject: &Subject) -> Failure {
    let refusal = Refusal {
        operation: operation.name(),
        subject,
    };
    let failure = match (said.status, said.code()) {
        (_, code) if is_throttling(code) => refusal.throttled(),
        (429, _) => refusal.throttled(),
        (status @ 500.., _) => refusal.inconclusive(&format!("failed with status {status}")),
        // AWS answers a refusal by KMS with 400; those that stand in for it, with 403.
        (400 | 403, "AccessDeniedException") => refusal.access(said),
        (400, "DisabledException") => refusal.disabled(),
        (400, "NotFoundException") => refusal.not_found(),
        (400, "KMSInvalidStateException") => refusal.invalid_state(said),
        (400, "InvalidKeyUsageException") => refusal.unusable(),
        (400, "InvalidCiphertextException" | "IncorrectKeyException") => {
            refusal.does_not_open().with_bytes_refused()
        }
        (400, "InvalidSignatureException") => refusal.signature(said),
        (
            400 | 403,
            "UnrecognizedClientException"
            | "ExpiredTokenException"
            | "InvalidClientTokenId"
            | "IncompleteSignatureException"
            | "MissingAuthenticationTokenException"
            | "OptInRequired",
        ) => refusal.credential(),
        (status, "") => refusal.inconclusive(&format!(
            "gave an answer with status {status} that is not in KMS's form; a proxy may have \
             answered in its place"
        )),
        (status, _) => refusal.inconclusive(&format!(
            "answered with status {status}, which is neither a success nor a known refusal"
        )),
    };
    failure
        .with_code(said.code.as_deref())
        .with_request_id(said.request_id.as_deref())
        .with_retry_after(said.retry_after)
}

/// What an external key manager's no is called.
const EXTERNAL_NO: [&str; 3] = [
    "external key store proxy denied access to the operation",
    "the external key is not enabled in the external key manager",
    "it could not find the external key",
];

/// AWS's services call it by several names.
pub fn is_throttling(code: &str) -> bool {
    matches!(
        code,
        "ThrottlingException" | "Throttling" | "RequestLimitExceeded" | "TooManyRequestsException"
    )
}

struct Refusal<'a> {
    operation: &'static str,
    subject: &'a Subject,
}

impl Refusal<'_> {
    fn access(&self, said: &Said) -> Failure {
        let (subject, operation) = (self.subject, self.operation);
        if said.is_of_endpoint() {
            return endpoint(&subject.kms_host());
        }
        if subject.who == Who::Own && said.is_of_caller() {
            return Failure::misconfigured(
                Reason::IdentityUnavailable,
                format!(
                    "the policies of the operator's own role do not allow {operation} with {}; its \
                     owner was not asked. Add it to them; who asks is told by: {}",
                    subject.key_name(),
                    subject.who_am_i()
                ),
            );
        }
        Failure::denial(
            Reason::AccessDenied,
            format!(
                "KMS refuses {operation} with {} to {}: neither the key's policy nor a grant nor \
                 the role's own policy allows it, or one was taken. Check the key's policy, and \
                 give it back by: {}",
                subject.key_name(),
                subject.who.describe(),
                subject.grant_key()
            ),
        )
    }

    fn disabled(&self) -> Failure {
        Failure::denial(
            Reason::KeyDisabled,
            format!(
                "{} is disabled. Check with its owner whether that is meant; it is enabled by: {}",
                self.subject.key_name(),
                self.subject.key_command("enable-key", "")
            ),
        )
    }

    fn not_found(&self) -> Failure {
        Failure::denial(
            Reason::KeyNotFound,
            format!(
                "{} does not exist: never made, or deleted for ever. Check spec.kmsKeyRef; the \
                 keys of the account are listed by: aws kms list-aliases --region '{}'",
                self.subject.key_name(),
                self.subject.key.region.name
            ),
        )
    }

    /// One code for several states, which only the sentence tells apart. "Pending import" is what a
    /// key becomes when its owner deletes the imported material, "immediately" unusable, or lets it
    /// expire (Developer Guide, "Delete imported key material"): the owner's own act on this key, so
    /// a no like a deletion. An external key store's no is its key manager's ("Troubleshoot external
    /// key stores"). A key store that is disconnected may as well be an outage.
    fn invalid_state(&self, said: &Said) -> Failure {
        let (key, subject) = (self.subject.key_name(), self.subject);
        if said.ends(" is pending deletion.") || said.ends(" is pending replica deletion.") {
            return Failure::denial(
                Reason::KeyUnusable,
                format!(
                    "{key} is scheduled for deletion and refuses {}. Check with its owner whether \
                     that is meant; it is kept by: {} && {}",
                    self.operation,
                    subject.key_command("cancel-key-deletion", ""),
                    subject.key_command("enable-key", "")
                ),
            );
        }
        if said.ends(" is pending import.") {
            return Failure::denial(
                Reason::KeyUnusable,
                format!(
                    "{key} has no key material: its owner deleted what was imported, or it \
                     expired. Check with its owner; what to import it with is given by: {}",
                    subject.key_command(
                        "get-parameters-for-import",
                        "--wrapping-algorithm 'RSAES_OAEP_SHA_256' --wrapping-key-spec 'RSA_3072'"
                    )
                ),
            );
        }
        if EXTERNAL_NO.iter().any(|no| said.has(no)) {
            return Failure::denial(
                Reason::KeyUnusable,
                format!(
                    "{key} is in an external key store, whose key manager refuses {}: its key is \
                     disabled, gone, or not for this use. Check there with its owner; the store is \
                     told by: {}",
                    self.operation,
                    subject.key_command("describe-key", "--query KeyMetadata.XksKeyConfiguration")
                ),
            );
        }
        self.inconclusive("says that the key is in a state in which it cannot be used at present")
    }

    fn unusable(&self) -> Failure {
        Failure::misconfigured(
            Reason::KeyUnusable,
            format!(
                "{} cannot wrap: it must be a symmetric key for encryption (SYMMETRIC_DEFAULT, \
                 ENCRYPT_DECRYPT). Check its type with its owner, who makes another one by: aws kms \
                 create-key --region '{}'",
                self.subject.key_name(),
                self.subject.key.region.name
            ),
        )
    }

    /// Said of changed bytes, of another key's, and of those of another tenant's encryption context.
    fn does_not_open(&self) -> Failure {
        Failure::transient(
            Reason::ProviderError,
            format!(
                "KMS does not open what is stored with {} for this tenant: it was wrapped for \
                 another tenant or by another key, or it was changed. Nothing is concluded from it. \
                 Check who writes in the records namespace, then restore the record from a backup: \
                 tenant-kms keyring import --file '<exported file>' --namespace '<namespace>' \
                 --replace-damaged",
                self.subject.key_name()
            ),
        )
    }

    fn signature(&self, said: &Said) -> Failure {
        if said.begins("Signature expired") || said.begins("Signature not yet current") {
            return clock(&self.subject.kms_host());
        }
        self.credential()
    }

    fn credential(&self) -> Failure {
        Failure::misconfigured(
            Reason::CredentialRejected,
            format!(
                "{} does not accept the credential of {}. Check that the identity belongs to the \
                 partition of the key, and that the region is enabled in its account: {}",
                self.subject.kms_host(),
                self.subject.who.describe(),
                self.subject.who_am_i()
            ),
        )
    }

    fn throttled(&self) -> Failure {
        Failure::transient(
            Reason::Throttled,
            format!(
                "{} throttles requests of account {}. Check what else uses KMS there, or choose a \
                 longer spec.verify.interval: aws service-quotas list-service-quotas --region '{}' \
                 --service-code 'kms'",
                self.subject.kms_host(),
                self.subject.key.account,
                self.subject.key.region.name
            ),
        )
    }

    fn inconclusive(&self, what: &str) -> Failure {
        let host = self.subject.kms_host();
        Failure::transient(
            Reason::ProviderError,
            format!(
                "{host} {what} ({}): nothing is concluded from it. Check the key's state, KMS's \
                 health and what stands between: {}; {}",
                self.operation,
                self.subject
                    .key_command("describe-key", "--query KeyMetadata.KeyState"),
                reach(&host)
            ),
        )
    }
}

/// Whether this is said of a session rather than of what it asks for.
pub fn is_of_session(code: &str) -> bool {
    matches!(
        code,
        "UnrecognizedClientException" | "ExpiredTokenException" | "InvalidClientTokenId"
    )
}

/// What stands in the network between, which the platform owns, like a firewall.
pub fn endpoint(host: &str) -> Failure {
    Failure::misconfigured(
        Reason::IdentityUnavailable,
        format!(
            "the policy of a VPC endpoint on the way to {host} does not allow this: nobody behind it \
             was asked. Check the endpoints of the operator's network: aws ec2 \
             describe-vpc-endpoints --query 'VpcEndpoints[].[ServiceName,PolicyDocument]'"
        ),
    )
}

/// The signature's time and the service's are too far apart.
pub fn clock(host: &str) -> Failure {
    Failure::misconfigured(
        Reason::CredentialRejected,
        format!(
            "{host} refuses the signature because its time is minutes away from AWS's. Check the \
             clock of the operator's node: kubectl debug node/'<node>' --image 'busybox' -- date -u"
        ),
    )
}
