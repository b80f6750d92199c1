//! An *approval* is the control plane's signed word that an Operation may run: vWorkspace's claim.
//!
//! ```text
//! vws1.BODY.MAC      BODY = base64url(JSON {at, by, exp, op, rid, v})      MAC = hex(HMAC-SHA256(key, BODY))
//! ```
//!
//! # What it does not say
//! A claim names the Operation and nothing in it. Whoever may delete and create Operations can, until it expires, put another
//! one under the approved name; that is for the control plane's RBAC to prevent.

#[cfg(test)]
mod tests;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use hmac::{Hmac, KeyInit, Mac};
use jiff::Timestamp;
use serde::Deserialize;
use sha2::Sha256;

use crate::operation::Approvals;
use crate::reason::Reason;
use crate::refusal::Refusal;
use hookhost_helm::text::{digest_of_hex, quote};

/// Bytes of a claim. The control plane's have some 250.
pub const MAX_CLAIM_BYTES: usize = 4096;

/// What every claim of this format begins with.
const PREFIX: &str = "vws1";

/// The only version of the body.
const VERSION: i64 = 1;

/// A claim that is genuine, meant for the Operation and still valid.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Approval {
    /// Who approved; none where the control plane does not say.
    pub approved_by: Option<String>,
    /// When, as the control plane wrote it.
    pub approved_at: Option<String>,
    /// The control plane's number of the request.
    pub request_id: Option<i64>,
    /// The last second in which it is valid.
    pub expires: i64,
}

/// Why a claim proves nothing.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum ApprovalError {
    /// It has not the form of a claim.
    #[error("it is not of the form vws1.BODY.MAC, at most {MAX_CLAIM_BYTES} bytes")]
    Malformed,
    /// Its MAC is of another key or another body.
    #[error("its signature is not the control plane's")]
    Forged,
    /// It is signed, but says something that this version does not know.
    #[error("its body is not one that this hookhost knows")]
    UnknownBody,
    /// It approves another Operation.
    #[error("it is for the Operation {}, not for {}", quote(.found), quote(.expected))]
    OtherOperation {
        /// The one that it is for.
        found: String,
        /// The one that shows it.
        expected: String,
    },
    /// It was valid once.
    #[error("it has expired at {at}")]
    Expired {
        /// When, as RFC 3339 where that can say it.
        at: String,
    },
}

impl ApprovalError {
    /// Always [`Reason::AwaitingApproval`].
    pub fn reason(&self) -> Reason {
        Reason::AwaitingApproval
    }
}

#[derive(Deserialize)]
struct Body {
    at: Option<String>,
    by: Option<String>,
    exp: i64,
    op: String,
    rid: Option<i64>,
    v: i64,
}

/// Verifies a claim: nothing in it is read before its MAC, in constant time, is found right.
///
/// # Errors
/// Why it proves nothing.
pub fn verify(
    claim: &str,
    key: &[u8],
    operation_name: &str,
    now: Timestamp,
) -> Result<Approval, ApprovalError> {
    let claim = claim.trim();
    if claim.len() > MAX_CLAIM_BYTES {
        return Err(ApprovalError::Malformed);
    }
    let mut parts = claim.split('.');
    let (Some(PREFIX), Some(body), Some(mac), None) =
        (parts.next(), parts.next(), parts.next(), parts.next())
    else {
        return Err(ApprovalError::Malformed);
    };
    let mac = digest_of_hex(mac).ok_or(ApprovalError::Malformed)?;
    // A key of any length will do.
    let mut expected = Hmac::<Sha256>::new_from_slice(key.trim_ascii()).map_err(|_| ApprovalError::Forged)?;
    expected.update(body.as_bytes());
    expected.verify_slice(&mac).map_err(|_| ApprovalError::Forged)?;

    let body = URL_SAFE_NO_PAD.decode(body).ok().and_then(|json| serde_json::from_slice(&json).ok());
    let Some(Body { at, by, exp, op, rid, v: VERSION }) = body else {
        return Err(ApprovalError::UnknownBody);
    };
    if op.trim() != operation_name {
        return Err(ApprovalError::OtherOperation { found: op, expected: operation_name.to_owned() });
    }
    if now.as_second() > exp {
        let at = Timestamp::from_second(exp).map_or_else(|_| exp.to_string(), |at| at.to_string());
        return Err(ApprovalError::Expired { at });
    }
    let said = |text: Option<String>| text.filter(|text| !text.is_empty());
    Ok(Approval { approved_by: said(by), approved_at: said(at), request_id: rid, expires: exp })
}

/// Who approved the Operation, if anybody did. `key` is what the control plane signs with; without one no claim counts.
///
/// A claim that nobody requires is verified all the same, where there is a key, because policies are told of it; once
/// expired it counts as none.
///
/// # Errors
/// If an approval is required and there is none, or a claim is not genuine. The Operation waits: a claim can be added to it.
pub fn check(
    approvals: &Approvals,
    key: Option<&[u8]>,
    operation_name: &str,
    now: Timestamp,
) -> Result<Option<String>, Refusal> {
    let wait = |message: String| Err(Refusal::wait(Reason::AwaitingApproval, message));
    let claim = approvals.claim.as_deref().filter(|claim| !claim.trim().is_empty());
    let key = key.filter(|key| !key.trim_ascii().is_empty());
    match (claim, key) {
        (None, _) if approvals.required => wait(
            "the Operation requires an approval and has none: spec.approvals.claim is where the control plane puts it"
                .to_owned(),
        ),
        (Some(_), None) if approvals.required => wait(
            "the Operation has an approval, but hookhost cannot verify it: it was installed without the control plane's \
             approval key"
                .to_owned(),
        ),
        (None, _) | (_, None) => Ok(None),
        (Some(claim), Some(key)) => match verify(claim, key, operation_name, now) {
            Ok(approval) => Ok(approval.approved_by),
            Err(ApprovalError::Expired { .. }) if !approvals.required => Ok(None),
            Err(error) => wait(format!("spec.approvals.claim is no approval: {error}. Ask for a new one")),
        },
    }
}
