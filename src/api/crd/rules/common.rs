//! What holds for every provider: name, provider, one block, the erased ids that only grow.

use k8s_openapi::apiextensions_apiserver::pkg::apis::apiextensions::v1::ValidationRule;

use super::super::rule::{if_present, matches, rule, rule_with_hints};

const KNOWN: &str = "self.provider in ['azure', 'aws', 'gcp', 'local']";

pub(super) fn root() -> Vec<ValidationRule> {
    vec![rule(
        "size(self.metadata.name) <= 63",
        "metadata.name",
        "a name has at most 63 characters: it becomes a label value",
    )]
}

pub(super) fn spec() -> Vec<ValidationRule> {
    vec![
        provider(),
        only_of("azure"),
        only_of("aws"),
        only_of("gcp"),
        rule(
            format!(
                "self.provider != 'local' || {}",
                matches("kmsKeyRef", LOCAL_REF)
            ),
            "kmsKeyRef",
            "provider is local: write local://NAME, the name of a key that the platform mounts \
             into the operator (lower-case letters, digits and hyphens)",
        ),
        if_present(
            "deletionPolicy",
            "self.deletionPolicy in ['Retain', 'Erase']",
            "write Retain (the wrapped keys stay) or Erase",
        ),
        // On spec and not on masterKey: a rule that compares does not run for a removed object.
        rule(
            "!has(oldSelf.masterKey) || !has(oldSelf.masterKey.erasedIds) || \
             (has(self.masterKey) && has(self.masterKey.erasedIds) && \
             oldSelf.masterKey.erasedIds.all(id, id in self.masterKey.erasedIds))",
            "masterKey",
            "erasedIds only grows: what was erased stays erased, keep the ids that are there",
        ),
    ]
}

const LOCAL_REF: &str = r"local://[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?";

/// Other spellings, and the names of other products and of the admin API.
fn provider() -> ValidationRule {
    let alias = |pattern: &str| matches("provider", &format!("(?i:{pattern})"));
    let azure = alias(
        r"(customer[ _-]?kms[ _-]?)?azure([ _-]?(key[ _-]?vault|kv|kms))?|(azure|microsoft)([ _.-]?key[ _-]?vault)?|akv|key[ _-]?vault",
    );
    let aws =
        alias(r"(customer[ _-]?kms[ _-]?)?aws([ _-]?kms)?|amazon([ _-]?(kms|web[ _-]?services))?");
    let gcp = alias(
        r"(customer[ _-]?kms[ _-]?)?gcp([ _-]?(cloud[ _-]?)?kms)?|google([ _-]?cloud)?([ _-]?kms)?|(cloud|gcpc)[ _-]?kms",
    );
    let local = alias(r"local([ _-]?(kms|key))?|software|platform([ _-]?managed)?|dev(elopment)?");
    rule_with_hints(
        KNOWN,
        "provider",
        &[
            (&azure, "write azure"),
            (&aws, "write aws"),
            (&gcp, "write gcp"),
            (&local, "write local"),
        ],
        "write azure, aws, gcp or local",
    )
}

/// An unknown provider has its own message; this one would only confuse.
fn only_of(block: &str) -> ValidationRule {
    if_present(
        block,
        &format!("self.provider == '{block}' || !({KNOWN})"),
        &format!("only for provider {block}: remove this block, or write provider: {block}"),
    )
}
