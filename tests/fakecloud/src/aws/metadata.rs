//! What gives a pod or a machine its own role: the instance metadata service (version 2 only) and the EKS Pod Identity
//! agent, on the plain HTTP port of the machine.

use http::Method;
use serde_json::{Value, json};

use crate::aws::State;
use crate::aws::caller::{Credential, role_name};
use crate::aws::sigv4::timestamp;
use crate::crypto::encode;
use crate::http::{Answer, Asked};
use crate::jwt;
use crate::pipeline::Seen;
use crate::services::Service;
use crate::world::{World, lock};

const TOKEN: &str = "/latest/api/token";
const ROLES: &str = "/latest/meta-data/iam/security-credentials/";
const POD_IDENTITY: &str = "/v1/credentials";
/// The audience of the tokens that EKS mounts for it.
const POD_AUDIENCE: &str = "pods.eks.amazonaws.com";
/// Of what an instance profile gives.
const LIFETIME: u64 = 6 * 3600;

pub(crate) fn is_path(path: &str) -> bool {
    path.starts_with("/latest/") || path == POD_IDENTITY
}

pub(crate) fn prepare(world: &World, asked: &Asked) -> (Seen, Service) {
    if asked.path == POD_IDENTITY {
        let role = pod_role(world, asked);
        let seen = Seen {
            principal: role.as_ref().ok().cloned(),
            ..Seen::operation("pod-identity")
        };
        return (seen, Box::new(move |world, _| pod_identity(world, role)));
    }
    let operation = match asked.path.as_str() {
        TOKEN => "imds-session",
        ROLES => "imds-role",
        path if path.starts_with(ROLES) => "imds-credentials",
        _ => "other",
    };
    let seen = Seen {
        principal: world.aws().instance_role.clone(),
        ..Seen::operation(operation)
    };
    (seen, Box::new(imds))
}

fn imds(world: &World, asked: &Asked) -> Answer {
    // A forwarded request may come from outside the machine.
    if asked.headers.contains_key("x-forwarded-for") {
        return plain(403, "Forbidden");
    }
    let mut aws = world.aws();
    if asked.path == TOKEN {
        return begin(&mut aws, asked);
    }
    if asked.method != Method::GET {
        return plain(405, "Method Not Allowed");
    }
    let now = aws.now();
    let known = asked
        .header("x-aws-ec2-metadata-token")
        .and_then(|token| aws.imds_tokens.get(token))
        .is_some_and(|end| *end > now);
    if !known {
        return plain(401, "Unauthorized");
    }
    let Some(role) = aws.instance_role.clone() else {
        return plain(404, "Not Found");
    };
    match asked.path.strip_prefix(ROLES) {
        Some("") => plain(200, role_name(&role)),
        Some(name) if name == role_name(&role) => {
            let given = give(world, &mut aws, &role, "i-0123456789abcdef0");
            Answer::json(200, &given)
        }
        _ => plain(404, "Not Found"),
    }
}

fn begin(aws: &mut State, asked: &Asked) -> Answer {
    if asked.method != Method::PUT {
        return plain(405, "Method Not Allowed");
    }
    let seconds = asked
        .header("x-aws-ec2-metadata-token-ttl-seconds")
        .and_then(|text| text.parse::<u64>().ok())
        .filter(|seconds| (1..=21_600).contains(seconds));
    let Some(seconds) = seconds else {
        return plain(400, "Bad Request");
    };
    let token = encode(crate::crypto::random::<42>());
    let end = aws.now() + seconds;
    aws.imds_tokens.insert(token.clone(), end);
    plain(200, &token).with("x-aws-ec2-metadata-token-ttl-seconds", seconds.to_string())
}

/// The role of the pod that shows this token, or the agent's answer.
fn pod_role(world: &World, asked: &Asked) -> Result<String, (u16, &'static str)> {
    let token = asked
        .header("authorization")
        .ok_or((400, "no authorization token"))?;
    world.calls.secret(token);
    let claims = jwt::claims(token).ok_or((400, "the token is no JWT"))?;
    let text = |name: &str| claims.get(name).and_then(Value::as_str).unwrap_or_default();
    let jwks = lock(&world.trusted).get(text("iss")).cloned();
    let jwks = jwks.ok_or((400, "InvalidTokenException"))?;
    jwt::verify(token, &jwks).map_err(|_| (400, "InvalidTokenException"))?;
    let aws = world.aws();
    let end = claims.get("exp").and_then(Value::as_u64);
    if end.is_none_or(|end| end <= aws.now()) {
        return Err((400, "ExpiredTokenException"));
    }
    if !jwt::audiences(&claims).contains(&POD_AUDIENCE) {
        return Err((400, "InvalidTokenException"));
    }
    let role = aws.pod_identities.get(text("sub")).cloned();
    role.ok_or((404, "ResourceNotFoundException"))
}

fn pod_identity(world: &World, role: Result<String, (u16, &'static str)>) -> Answer {
    match role {
        Err((status, why)) => plain(status, why),
        Ok(role) => {
            let mut aws = world.aws();
            let given = give(world, &mut aws, &role, "eks-cluster-pod");
            Answer::json(200, &given)
        }
    }
}

fn give(world: &World, aws: &mut State, role: &str, session: &str) -> Value {
    let now = aws.now();
    let (id, credential) = Credential::temporary(role, session, now + LIFETIME);
    let token = credential.token.clone().unwrap_or_default();
    for secret in [&credential.secret, &token] {
        world.calls.secret(secret);
    }
    let said = json!({
        "Code": "Success",
        "LastUpdated": timestamp(now).to_string(),
        "Type": "AWS-HMAC",
        "AccessKeyId": id,
        "SecretAccessKey": credential.secret,
        "Token": token,
        "AccountId": credential.caller.account(),
        "Expiration": timestamp(now + LIFETIME).to_string(),
    });
    aws.credentials.insert(id, credential);
    said
}

fn plain(status: u16, text: &str) -> Answer {
    Answer::new(status, "text/plain", text.to_owned())
}
