//! The `TenantKms` types: what people write and what the operator reports. No I/O here.

pub mod condition;
pub mod crd;
pub mod duration;
pub mod reason;
pub mod spec;
pub mod status;
pub mod timing;

pub use condition::{Aspect, Condition, Is};
pub use reason::Reason;
pub use spec::{
    AwsSpec, AzureSpec, ClientSecret, DeletionPolicy, GcpSpec, ImportFrom, ManagedIdentity,
    MasterKeySpec, ProviderKind, SecretRef, SessionSpec, TenantKms, TenantKmsSpec, VerifySpec,
};
pub use status::{
    Effective, HandledRequests, MasterKeyStatus, Phase, TenantKmsStatus, VerifyError,
};
pub use timing::Timing;
