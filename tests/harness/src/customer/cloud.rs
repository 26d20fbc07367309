//! The clouds, and what people call things there.

use std::fmt;

/// Where a customer's key is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Cloud {
    Azure,
    Aws,
    Gcp,
}

/// What a customer types where.
#[derive(Clone, Copy, Debug)]
pub struct Words {
    pub name: &'static str,
    /// The command line, as the operator's hints begin.
    pub command: &'static str,
    pub say_no: &'static str,
    pub disable: &'static str,
    pub rotate: &'static str,
    pub delete: &'static str,
}

impl Cloud {
    pub const ALL: [Self; 3] = [Self::Azure, Self::Aws, Self::Gcp];

    pub fn parse(text: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|cloud| cloud.name() == text)
    }

    /// As `spec.provider` has it.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Azure => "azure",
            Self::Aws => "aws",
            Self::Gcp => "gcp",
        }
    }

    /// The other two, in the order of a round trip.
    pub const fn others(self) -> [Self; 2] {
        match self {
            Self::Azure => [Self::Aws, Self::Gcp],
            Self::Aws => [Self::Gcp, Self::Azure],
            Self::Gcp => [Self::Azure, Self::Aws],
        }
    }

    /// What a check of a tenant is in the cloud's record.
    pub const fn check(self) -> &'static str {
        match self {
            Self::Azure => "unwrapkey",
            Self::Aws | Self::Gcp => "decrypt",
        }
    }

    pub const fn words(self) -> Words {
        match self {
            Self::Azure => Words {
                name: "Azure",
                command: "az ",
                say_no: "az role assignment delete",
                disable: "az keyvault key set-attributes --enabled false",
                rotate: "az keyvault key rotate",
                delete: "az keyvault key delete",
            },
            Self::Aws => Words {
                name: "AWS",
                command: "aws ",
                say_no: "aws kms put-key-policy",
                disable: "aws kms disable-key",
                rotate: "aws kms rotate-key-on-demand",
                delete: "aws kms schedule-key-deletion",
            },
            Self::Gcp => Words {
                name: "Google Cloud",
                command: "gcloud ",
                say_no: "gcloud kms keys remove-iam-policy-binding",
                disable: "gcloud kms keys versions disable",
                rotate: "gcloud kms keys versions create --primary",
                delete: "gcloud kms keys versions destroy",
            },
        }
    }
}

impl fmt::Display for Cloud {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}
