//! The two reviews, as the API server does them.

use async_trait::async_trait;
use k8s_openapi::api::authentication::v1::{TokenReview, TokenReviewSpec, TokenReviewStatus};
use k8s_openapi::api::authorization::v1::{
    ResourceAttributes, SubjectAccessReview, SubjectAccessReviewSpec, SubjectAccessReviewStatus,
};
use kube::api::PostParams;
use kube::{Api, Client};

use super::Right;
use super::remembered::Trouble;
use crate::provider::TenantId;
use crate::session::Caller;
use crate::session::caller::AUDIENCE;

const GROUP: &str = "tenantkms.dev";
const VERSION: &str = "v1alpha1";
const RESOURCE: &str = "tenantkmses";

/// Who reviews. Whoever calls sets the deadlines.
#[async_trait]
pub trait Reviewer: Send + Sync {
    async fn token(&self, token: &str) -> Result<TokenReviewStatus, Trouble>;
    async fn access(
        &self,
        asked: SubjectAccessReviewSpec,
    ) -> Result<SubjectAccessReviewStatus, Trouble>;
}

/// The Kubernetes API server.
pub struct ApiServer(pub Client);

#[async_trait]
impl Reviewer for ApiServer {
    async fn token(&self, token: &str) -> Result<TokenReviewStatus, Trouble> {
        let review = TokenReview {
            spec: TokenReviewSpec {
                audiences: Some(vec![AUDIENCE.to_owned()]),
                token: Some(token.to_owned()),
            },
            ..TokenReview::default()
        };
        let reviews: Api<TokenReview> = Api::all(self.0.clone());
        let answer = reviews.create(&PostParams::default(), &review).await;
        answer.map_err(trouble)?.status.ok_or(Trouble::Silent)
    }

    async fn access(
        &self,
        asked: SubjectAccessReviewSpec,
    ) -> Result<SubjectAccessReviewStatus, Trouble> {
        let review = SubjectAccessReview {
            spec: asked,
            ..SubjectAccessReview::default()
        };
        let reviews: Api<SubjectAccessReview> = Api::all(self.0.clone());
        let answer = reviews.create(&PostParams::default(), &review).await;
        answer.map_err(trouble)?.status.ok_or(Trouble::Silent)
    }
}

fn trouble(error: kube::Error) -> Trouble {
    match error {
        kube::Error::Api(status) => Trouble::Status(status.code),
        _ => Trouble::Silent,
    }
}

/// May this caller `create` on that subresource of the tenant?
pub fn question(caller: &Caller, tenant: &TenantId, right: Right) -> SubjectAccessReviewSpec {
    SubjectAccessReviewSpec {
        user: Some(caller.username().to_owned()),
        uid: Some(caller.uid().to_owned()),
        groups: Some(caller.groups().to_vec()),
        extra: Some(caller.extra().clone()),
        resource_attributes: Some(ResourceAttributes {
            namespace: Some(tenant.namespace.clone()),
            name: Some(tenant.name.clone()),
            verb: Some("create".to_owned()),
            group: Some(GROUP.to_owned()),
            version: Some(VERSION.to_owned()),
            resource: Some(RESOURCE.to_owned()),
            subresource: Some(right.subresource().to_owned()),
            ..ResourceAttributes::default()
        }),
        ..SubjectAccessReviewSpec::default()
    }
}
