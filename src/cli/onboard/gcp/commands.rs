//! The customer's commands, for `gcloud`. Every argument that is not a word of ours is single-quoted, and
//! no comment has a quote: pasted into zsh, it would open one.

use super::Plan;
use crate::credentials::quoted;
use crate::provider::gcp::Base;

pub fn customer(plan: &Plan) -> String {
    let own = plan.operator.as_deref();
    let mut text = String::from("# The customer runs this.\n");
    let mut add = |comment: &str, command: &str| {
        text.extend(["# ", comment, "\n", command, "\n"]);
    };
    if let (Base::Federated { provider, .. }, Some(issuer)) = (&plan.subject.who.base, &plan.issuer)
    {
        let project = quoted(&provider.project);
        let place = format!("--location 'global' --project {project}");
        add(
            "The services that exchange tokens, in the project of the provider.",
            &format!(
                "gcloud services enable 'sts.googleapis.com' 'iamcredentials.googleapis.com' \
                 'cloudkms.googleapis.com' --project {project}"
            ),
        );
        let pool = quoted(&provider.pool);
        add(
            "A pool for identities of the platform.",
            &format!(
                "gcloud iam workload-identity-pools describe {pool} {place} > /dev/null ||\n  gcloud \
                 iam workload-identity-pools create {pool} {place}"
            ),
        );
        let subject = plan.subject.who.base.account().unwrap_or_default();
        let condition = quoted(&format!("assertion.sub == '{subject}'"));
        add(
            "A provider that trusts this ServiceAccount in the cluster of the platform, and no other. \
             Where the internet cannot read the keys of the issuer, add --jwk-json-path with the file \
             that the platform made by kubectl get --raw /openid/v1/jwks. One that is there already \
             stays as it is: its issuer and its condition must let the ServiceAccount in.",
            &format!(
                "{} > /dev/null ||\n  gcloud iam workload-identity-pools providers create-oidc {} \
                 --workload-identity-pool {pool} {place} --issuer-uri {} --attribute-mapping \
                 'google.subject=assertion.sub' --attribute-condition {condition}",
                plan.subject.provider("describe", ""),
                quoted(&provider.name),
                quoted(issuer)
            ),
        );
    }
    if let Some(email) = &plan.subject.who.impersonates {
        if let Some((name, project)) = place(email) {
            add(
                "The service account that uses the key.",
                &format!(
                    "gcloud iam service-accounts describe {} > /dev/null ||\n  gcloud iam \
                     service-accounts create {} --project {}",
                    quoted(email),
                    quoted(name),
                    quoted(&project)
                ),
            );
        }
        add(
            "The platform may become that service account.",
            &plan.subject.grant_impersonation(own),
        );
    }
    add(
        "The right to encrypt and decrypt with this key, and nothing else. It takes effect within some \
         minutes.",
        &plan.subject.grant_key(own),
    );
    if let Some(project) = &plan.subject.billed {
        add(
            "The right to have this project billed.",
            &format!(
                "gcloud projects add-iam-policy-binding {} --role \
                 'roles/serviceusage.serviceUsageConsumer' --member {}",
                quoted(project),
                quoted(&plan.subject.caller(own))
            ),
        );
    }
    text
}

/// Name and project of `NAME@PROJECT.iam.gserviceaccount.com`; a project that belongs to a domain is
/// written there the other way round. Others, as `…@developer.gserviceaccount.com`, nobody makes.
fn place(email: &str) -> Option<(&str, String)> {
    let (name, domain) = email.split_once('@')?;
    let project = domain.strip_suffix(".iam.gserviceaccount.com")?;
    let project = match project.split_once('.') {
        Some((id, domain)) => format!("{domain}:{id}"),
        None => project.to_owned(),
    };
    Some((name, project))
}
