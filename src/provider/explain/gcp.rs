//! What mends it in Google Cloud.

use crate::api::Reason;

pub const fn command(reason: Reason) -> Option<&'static str> {
    Some(match reason {
        Reason::AccessDenied => {
            "gcloud kms keys add-iam-policy-binding '<key>' --keyring '<key ring>' --location \
             '<location>' --project '<project>' --role 'roles/cloudkms.cryptoKeyEncrypterDecrypter' \
             --member '<member>'"
        }
        Reason::KeyDisabled => {
            "gcloud kms keys versions enable '<version>' --key '<key>' --keyring '<key ring>' \
             --location '<location>' --project '<project>'"
        }
        Reason::KeyNotFound => {
            "gcloud kms keys versions restore '<version>' --key '<key>' --keyring '<key ring>' \
             --location '<location>' --project '<project>'"
        }
        Reason::KeyUnusable => {
            "gcloud kms keys describe '<key>' --keyring '<key ring>' --location '<location>' \
             --project '<project>' --format 'value(purpose,primary.state)'"
        }
        Reason::InvalidKeyRef => {
            "gcloud kms keys list --keyring '<key ring>' --location '<location>' --project \
             '<project>' --format 'value(name)'"
        }
        Reason::CredentialNotFound => "kubectl explain tenantkms.spec.gcp",
        Reason::CredentialRejected => {
            "gcloud services enable 'cloudkms.googleapis.com' --project '<billed project>'"
        }
        Reason::IdentityUnavailable => {
            "gcloud iam service-accounts add-iam-policy-binding '<service account>' --role \
             'roles/iam.workloadIdentityUser' --member \
             'serviceAccount:<project>.svc.id.goog[<namespace>/<ServiceAccount>]'"
        }
        Reason::Unreachable => "curl --verbose 'https://cloudkms.googleapis.com/'",
        Reason::Throttled => {
            "gcloud services list --enabled --project '<billed project>' --filter \
             'config.name=cloudkms.googleapis.com'"
        }
        _ => return None,
    })
}
