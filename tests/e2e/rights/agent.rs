//! What the agent API gives the operator besides: reviews, and the CA's `ConfigMap`.

/// As `ANSWERS` of the module above.
pub const ANSWERS: [(&str, &str, char, bool); 9] = [
    ("create", "tokenreviews.authentication.k8s.io", '-', true),
    (
        "create",
        "subjectaccessreviews.authorization.k8s.io",
        '-',
        true,
    ),
    ("create", "configmaps", 'S', true),
    ("get", "configmaps/tenant-kms-ca", 'S', true),
    ("update", "configmaps/tenant-kms-ca", 'S', true),
    ("get", "configmaps/other", 'S', false),
    ("list", "configmaps", 'S', false),
    ("delete", "configmaps/tenant-kms-ca", 'S', false),
    ("create", "configmaps", 'T', false),
];

/// The chart's value. That its rules are needed shows where the agent API is: `agent_ca`.
pub const OFF: &str = r#"agent={"enabled":false}"#;
