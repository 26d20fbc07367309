//! STS: AssumeRole, AssumeRoleWithWebIdentity and GetCallerIdentity in the query protocol. It gives sessions out; what
//! they may do is decided where they are used.

use http::Method;

use crate::aws::State;
use crate::aws::caller::{Caller, Credential, role_name};
use crate::aws::region::{Place, account};
use crate::aws::sigv4::{self, Unsigned, timestamp};
use crate::aws::sts_errors::{self as errors, NAMESPACE, Refusal, escape};
use crate::aws::web_identity;
use crate::http::{Answer, Asked};
use crate::pipeline::Seen;
use crate::services::Service;
use crate::world::World;

/// How far a client's clock may be off.
const LEEWAY_MINUTES: u64 = 15;
/// Of the API.
const VERSION: &str = "2011-06-15";
const SHORTEST: u64 = 900;
/// Of a session that was begun from another role's.
const LONGEST_CHAINED: u64 = 3600;

pub(crate) fn prepare(world: &World, asked: &Asked, place: Place) -> (Seen, Service) {
    let action = asked.form("Action").unwrap_or_default();
    let caller = sigv4::verify(&world.aws(), asked, &place, LEEWAY_MINUTES);
    let operation = match action.as_str() {
        "AssumeRole" => "assume-role",
        "AssumeRoleWithWebIdentity" => "assume-role-with-web-identity",
        "GetCallerIdentity" => "caller-identity",
        _ => "other",
    };
    // An external id is no secret to AWS, and none here.
    if let Some(token) = asked.form("WebIdentityToken") {
        world.calls.secret(&token);
    }
    let known = caller.as_ref().ok();
    let seen = Seen {
        operation: operation.to_owned(),
        principal: known.map(|caller| caller.principal.clone()),
        tenant: asked.form("RoleArn").map(|arn| account(&arn).to_owned()),
        app: asked.form("RoleSessionName"),
    };
    let service = move |world: &World, asked: &Asked| {
        answer(world, asked, &place, &action, caller).unwrap_or_else(|refusal| refusal.answer())
    };
    (seen, Box::new(service))
}

fn answer(
    world: &World,
    asked: &Asked,
    place: &Place,
    action: &str,
    caller: Result<Caller, Unsigned>,
) -> Result<Answer, Refusal> {
    let version = asked.form("Version").unwrap_or_default();
    let none = || errors::invalid_action(action, &version);
    let form = asked.media_type() == "application/x-www-form-urlencoded";
    if asked.method != Method::POST || asked.path != "/" || asked.query.is_some() || !form {
        return Err(none());
    }
    if version != VERSION {
        return Err(none());
    }
    match action {
        "AssumeRole" => assume(world, asked, place, &caller.map_err(errors::unsigned)?),
        "AssumeRoleWithWebIdentity" => assume_with_web_identity(world, asked, place),
        "GetCallerIdentity" => Ok(identity(&caller.map_err(errors::unsigned)?)),
        _ => Err(none()),
    }
}

fn identity(caller: &Caller) -> Answer {
    errors::xml(200, |id| {
        format!(
            "<GetCallerIdentityResponse xmlns=\"{NAMESPACE}\"><GetCallerIdentityResult><Arn>{}</Arn><UserId>{}\
             </UserId><Account>{}</Account></GetCallerIdentityResult><ResponseMetadata><RequestId>{id}</RequestId>\
             </ResponseMetadata></GetCallerIdentityResponse>",
            escape(&caller.arn()),
            escape(&caller.principal),
            caller.account()
        )
    })
}

fn assume(world: &World, asked: &Asked, place: &Place, caller: &Caller) -> Result<Answer, Refusal> {
    let wish = Wish::of(asked, place)?;
    if let Some(id) = &wish.external_id {
        check_external_id(id)?;
    }
    let mut aws = world.aws();
    aws.role_allows(caller, &wish.role, wish.external_id.as_deref())
        .map_err(|why| errors::denied(caller, &wish.role, why))?;
    if caller.session.is_some() && wish.seconds > LONGEST_CHAINED {
        return Err(errors::validation(
            "The requested DurationSeconds exceeds the 1 hour session limit for roles assumed by role chaining",
        ));
    }
    let session = begin(world, &mut aws, &wish)?;
    Ok(errors::xml(200, |id| {
        format!(
            "<AssumeRoleResponse xmlns=\"{NAMESPACE}\"><AssumeRoleResult>{session}</AssumeRoleResult>\
             <ResponseMetadata><RequestId>{id}</RequestId></ResponseMetadata></AssumeRoleResponse>"
        )
    }))
}

fn assume_with_web_identity(
    world: &World,
    asked: &Asked,
    place: &Place,
) -> Result<Answer, Refusal> {
    let wish = Wish::of(asked, place)?;
    let token = required(asked, "WebIdentityToken", "webIdentityToken")?;
    let mut aws = world.aws();
    let accepted = web_identity::check(world, &aws, &wish.role, &token)?;
    let session = begin(world, &mut aws, &wish)?;
    Ok(errors::xml(200, |id| {
        format!(
            "<AssumeRoleWithWebIdentityResponse xmlns=\"{NAMESPACE}\"><AssumeRoleWithWebIdentityResult>{session}\
             <SubjectFromWebIdentityToken>{}</SubjectFromWebIdentityToken><Audience>{}</Audience><Provider>{}\
             </Provider></AssumeRoleWithWebIdentityResult><ResponseMetadata><RequestId>{id}</RequestId>\
             </ResponseMetadata></AssumeRoleWithWebIdentityResponse>",
            escape(&accepted.subject),
            escape(&accepted.audience),
            escape(&accepted.issuer)
        )
    }))
}

/// What is asked of both ways to assume a role.
struct Wish {
    role: String,
    session: String,
    seconds: u64,
    external_id: Option<String>,
}

impl Wish {
    fn of(asked: &Asked, place: &Place) -> Result<Self, Refusal> {
        let role = required(asked, "RoleArn", "roleArn")?;
        let sound = role.starts_with(&format!("arn:{}:iam::", place.partition))
            && account(&role).len() == 12
            && role.contains(":role/");
        if !sound {
            return Err(errors::validation(format!("{role} is invalid")));
        }
        let session = required(asked, "RoleSessionName", "roleSessionName")?;
        let plain = |b: u8| b.is_ascii_alphanumeric() || b"_+=,.@-".contains(&b);
        if !(2..=64).contains(&session.len()) || !session.bytes().all(plain) {
            return Err(errors::validation(format!(
                "1 validation error detected: Value '{session}' at 'roleSessionName' failed to satisfy constraint: \
                 Member must satisfy regular expression pattern: [\\w+=,.@-]*"
            )));
        }
        let seconds = match asked.form("DurationSeconds") {
            None => LONGEST_CHAINED,
            Some(text) => text
                .parse()
                .ok()
                .filter(|seconds| (SHORTEST..=43_200).contains(seconds))
                .ok_or_else(|| {
                    errors::validation(format!(
                        "1 validation error detected: Value '{text}' at 'durationSeconds' failed to satisfy \
                         constraint: Member must have value greater than or equal to 900"
                    ))
                })?,
        };
        Ok(Self {
            role,
            session,
            seconds,
            external_id: asked.form("ExternalId"),
        })
    }
}

fn required(asked: &Asked, field: &str, name: &str) -> Result<String, Refusal> {
    asked.form(field).filter(|text| !text.is_empty()).ok_or_else(|| {
        errors::validation(format!(
            "1 validation error detected: Value null at '{name}' failed to satisfy constraint: Member must not be null"
        ))
    })
}

fn check_external_id(id: &str) -> Result<(), Refusal> {
    let plain = |b: u8| b.is_ascii_alphanumeric() || b"_+=,.@:/-".contains(&b);
    if (2..=1224).contains(&id.len()) && id.bytes().all(plain) {
        return Ok(());
    }
    Err(errors::validation(
        "1 validation error detected: Value at 'externalId' failed to satisfy constraint: Member must satisfy regular \
         expression pattern: [\\w+=,.@:\\/-]*",
    ))
}

/// A new session, as both answers tell it.
fn begin(world: &World, aws: &mut State, wish: &Wish) -> Result<String, Refusal> {
    // Who may assume a role that is not there was refused before.
    let role = aws.roles.get(&wish.role).ok_or_else(errors::not_trusted)?;
    if wish.seconds > role.longest.as_secs() {
        return Err(errors::validation(
            "The requested DurationSeconds exceeds the MaxSessionDuration set for this role.",
        ));
    }
    let user = format!("{}:{}", role.id, wish.session);
    let end = aws.now() + wish.seconds;
    let (id, credential) = Credential::temporary(&wish.role, &wish.session, end);
    let token = credential.token.clone().unwrap_or_default();
    for secret in [&credential.secret, &token] {
        world.calls.secret(secret);
    }
    let (partition, account) = (credential.caller.partition(), credential.caller.account());
    let (name, session) = (role_name(&wish.role), &wish.session);
    let said = format!(
        "<AssumedRoleUser><AssumedRoleId>{user}</AssumedRoleId><Arn>arn:{partition}:sts::{account}:assumed-role/\
         {name}/{session}</Arn></AssumedRoleUser><Credentials><AccessKeyId>{id}</AccessKeyId><SecretAccessKey>{}\
         </SecretAccessKey><SessionToken>{token}</SessionToken><Expiration>{}</Expiration></Credentials>",
        credential.secret,
        timestamp(end)
    );
    aws.credentials.insert(id, credential);
    Ok(said)
}
