//! What the API server lets somebody do by now: its authorizer hears of a changed Role a moment later.

use std::time::{Duration, Instant};

use anyhow::{Result, ensure};
use k8s_openapi::api::authorization::v1::{
    ResourceAttributes, SubjectAccessReview, SubjectAccessReviewSpec,
};
use kube::Api;
use kube::api::PostParams;

use crate::Env;

const SOON: Duration = Duration::from_secs(20);

/// One access in a namespace; `resource` is one of `group`, such as `tenantkmses/session`.
pub fn access(namespace: &str, verb: &str, group: &str, resource: &str) -> ResourceAttributes {
    let (resource, subresource) = match resource.split_once('/') {
        Some((resource, sub)) => (resource, Some(sub.to_owned())),
        None => (resource, None),
    };
    ResourceAttributes {
        namespace: Some(namespace.to_owned()),
        verb: Some(verb.to_owned()),
        group: Some(group.to_owned()),
        resource: Some(resource.to_owned()),
        subresource,
        ..ResourceAttributes::default()
    }
}

impl Env {
    /// A `ServiceAccount` of the tenants' namespace, as the API server calls it.
    pub fn user(&self, account: &str) -> String {
        format!("system:serviceaccount:{}:{account}", self.namespace)
    }

    /// Waits until this user may do that, or may not any more.
    pub async fn until_may(&self, user: &str, access: ResourceAttributes, may: bool) -> Result<()> {
        let reviews: Api<SubjectAccessReview> = Api::all(self.client().await?);
        let spec = SubjectAccessReviewSpec {
            user: Some(user.to_owned()),
            resource_attributes: Some(access),
            ..SubjectAccessReviewSpec::default()
        };
        let review = SubjectAccessReview {
            spec,
            ..SubjectAccessReview::default()
        };
        let deadline = Instant::now() + SOON;
        loop {
            let reviewed = reviews.create(&PostParams::default(), &review).await?;
            if reviewed.status.is_some_and(|status| status.allowed) == may {
                return Ok(());
            }
            let asked = &review.spec.resource_attributes;
            ensure!(Instant::now() < deadline, "{user}, {may} of {asked:?}");
            tokio::time::sleep(Duration::from_millis(25)).await;
        }
    }
}
