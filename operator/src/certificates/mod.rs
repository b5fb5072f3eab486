//! The certificates of all parts, the operator's own among them, and the platform token. Does IO:
//! the leader keeps the Secrets filled and rotates what is in them; everyone reads its own identity
//! from there. What is due when is `plan`'s.

mod make;
mod plan;
mod secret;
#[cfg(test)]
mod tests;

use std::{sync::Arc, time::Duration};

use anyhow::{Context as _, ensure};
use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};
use kube::Client;
use segment_source_runtime::tls::{Identities, Identity, Role};
use tokio::{
    sync::{oneshot, watch},
    time::sleep,
};
use tracing::{info, warn};

use self::{
    make::Signer,
    plan::{Authority, Validity},
    secret::{Kept, Secrets},
};
use crate::{
    args::Issue,
    lease::Leadership,
    metrics::{ApiErrors, Expiries},
    pauses::in_time,
};

/// The longest pause between two looks at the Secrets, should someone change them.
const LONGEST: Duration = Duration::from_secs(30);
/// The pause while something is missing.
const SHORTEST: Duration = Duration::from_secs(2);

/// What is made, and where it is kept.
#[derive(Clone, Debug)]
pub(crate) struct Settings {
    pub(crate) namespace: String,
    /// With `issue`.
    pub(crate) ca_secret: Option<String>,
    pub(crate) issue: Vec<Issue>,
    pub(crate) ca_validity: Duration,
    pub(crate) certificate_validity: Duration,
    pub(crate) token_secret: Option<String>,
}

/// The operator's own identity, once there is one.
#[derive(Debug)]
pub(crate) struct Own(oneshot::Receiver<Identities>);

impl Own {
    /// Waits until there is one.
    pub(crate) async fn wait(self) -> Identities {
        match self.0.await {
            Ok(identities) => identities,
            // Only when the process ends.
            Err(_) => std::future::pending().await,
        }
    }
}

/// Keeps the Secrets.
pub(crate) struct Certificates {
    settings: Settings,
    secrets: Secrets,
    leadership: Leadership,
    expiries: Expiries,
    own: Publisher,
}

/// Hands out the operator's identity.
struct Publisher {
    first: Option<oneshot::Sender<Identities>>,
    newest: Option<watch::Sender<Arc<Identity>>>,
    read: Vec<u8>,
}

impl Certificates {
    pub(crate) fn new(
        client: Client,
        settings: Settings,
        leadership: Leadership,
        errors: ApiErrors,
        expiries: Expiries,
    ) -> (Self, Own) {
        let secrets = Secrets::new(client, &settings.namespace, leadership.clone(), errors);
        let (first, own) = oneshot::channel();
        let publisher = Publisher { first: Some(first), newest: None, read: Vec::new() };
        let this = Self { settings, secrets, leadership, expiries, own: publisher };
        (this, Own(own))
    }

    /// For ever. What goes wrong is said once, and tried again.
    pub(crate) async fn run(mut self) {
        let (mut said, mut term) = (None, None);
        loop {
            let looked = in_time(self.look()).await.unwrap_or_else(|slow| Err(slow.into()));
            let (pause, problem) = match looked {
                Ok(pause) => (pause, None),
                Err(error) => (SHORTEST, Some(format!("{error:#}"))),
            };
            if let Some(problem) = problem.as_ref().filter(|_| said != problem) {
                warn!("{problem}");
            }
            said = problem;
            tokio::select! {
                () = sleep(pause) => {}
                begun = self.leadership.begun(term) => term = Some(begun),
            }
        }
    }

    /// One look; how long to wait for the next.
    async fn look(&mut self) -> anyhow::Result<Duration> {
        let (mut issued, mut token) = (Ok(LONGEST), Ok(()));
        if self.secrets.leads() {
            issued = self.issue().await;
            token = self.fill_token().await;
        }
        // One Secret that is missing is no reason to leave the others alone, least of all our own.
        let own = self.read_own().await;
        let problems: Vec<String> =
            [issued.as_ref().err(), token.as_ref().err(), own.as_ref().err()]
                .into_iter()
                .flatten()
                .map(|error| format!("{error:#}"))
                .collect();
        ensure!(problems.is_empty(), problems.join("; "));
        Ok(if own? { issued?.min(LONGEST) } else { SHORTEST })
    }

    /// Authorities first, then what they sign.
    async fn issue(&self) -> anyhow::Result<Duration> {
        let Some(ca_secret) = &self.settings.ca_secret else { return Ok(LONGEST) };
        let now = jiff::Timestamp::now().as_second();
        let signers = self.keep_authorities(now, ca_secret).await?;
        let facts: Vec<Authority> = signers.iter().map(|it| it.facts.clone()).collect();
        let signer = plan::signer(now, &facts)
            .and_then(|by| signers.iter().find(|it| it.facts.id == by.id))
            .context("there is no authority that could sign")?;
        self.expiries.set("ca", signer.facts.validity.until);
        let bundle: String = signers.iter().map(|it| it.certificate.as_str()).collect();
        let mut validities = Vec::new();
        let mut problem = None;
        for issue in &self.settings.issue {
            match self.keep_certificate(now, issue, signer, &facts, &bundle).await {
                Ok(validity) => validities.push(validity),
                // The others are kept all the same.
                Err(error) => problem = problem.or(Some(error)),
            }
        }
        if let Some(problem) = problem {
            return Err(problem);
        }
        let next = plan::next(now, &facts, &validities).map_or(i64::MAX, |next| next - now);
        let next = Duration::from_secs(u64::try_from(next).unwrap_or(0));
        Ok(next.clamp(Duration::from_secs(1), LONGEST))
    }

    async fn keep_authorities(&self, now: i64, name: &str) -> anyhow::Result<Vec<Signer>> {
        let kept = self.secrets.read(name).await?;
        let mut signers = make::authorities(kept.get("ca.crt"), kept.get("ca.key"));
        let facts: Vec<Authority> = signers.iter().map(|it| it.facts.clone()).collect();
        let plan = plan::authorities(now, &facts);
        if !plan.make && plan.keep.len() == signers.len() {
            return Ok(signers);
        }
        let mut at = 0..;
        signers.retain(|_| at.next().is_some_and(|at| plan.keep.contains(&at)));
        if plan.make {
            signers.push(Signer::make(Validity::of(now, seconds(self.settings.ca_validity)))?);
        }
        let certificates: String = signers.iter().map(|it| it.certificate.as_str()).collect();
        let keys: String = signers.iter().filter_map(Signer::key).collect();
        self.secrets.write(&kept, &[("ca.crt", &certificates), ("ca.key", &keys)]).await?;
        info!(secret = name, authorities = signers.len(), made = plan.make, "authorities changed");
        Ok(signers)
    }

    /// The validity of what the Secret holds then.
    async fn keep_certificate(
        &self,
        now: i64,
        issue: &Issue,
        signer: &Signer,
        trusted: &[Authority],
        bundle: &str,
    ) -> anyhow::Result<Validity> {
        let kept = self.secrets.read(&issue.secret).await?;
        let name = issue.roles.to_string();
        let found = make::leaf(kept.get("tls.crt"), kept.get("tls.key"), kept.get("ca.crt"));
        let found = found.filter(|leaf| !plan::is_due(now, leaf, &issue.roles, trusted));
        let Some(found) = found else {
            let lasts = seconds(self.settings.certificate_validity);
            let validity = plan::leaf_validity(now, lasts, &signer.facts);
            let (certificate, key) = signer.sign(&issue.roles, validity)?;
            let data =
                [("tls.crt", certificate.as_str()), ("tls.key", key.as_str()), ("ca.crt", bundle)];
            self.secrets.write(&kept, &data).await?;
            info!(secret = issue.secret, roles = name, "made a certificate");
            self.expiries.set(&name, validity.until);
            return Ok(validity);
        };
        if kept.get("ca.crt") != bundle.as_bytes() {
            self.secrets.write(&kept, &[("ca.crt", bundle)]).await?;
            info!(secret = issue.secret, roles = name, "told of the authorities");
        }
        self.expiries.set(&name, found.validity.until);
        Ok(found.validity)
    }

    /// Fills the platform token once.
    async fn fill_token(&self) -> anyhow::Result<()> {
        let Some(name) = &self.settings.token_secret else { return Ok(()) };
        let kept = self.secrets.read(name).await?;
        if !kept.get("token").is_empty() {
            return Ok(());
        }
        let mut random = [0; 32];
        getrandom::fill(&mut random).context("cannot make a random token")?;
        self.secrets.write(&kept, &[("token", &URL_SAFE_NO_PAD.encode(random))]).await?;
        info!(secret = name, "made the platform token");
        Ok(())
    }

    /// Whether there is an identity.
    async fn read_own(&mut self) -> anyhow::Result<bool> {
        let own = self.settings.issue.iter().find(|it| it.roles.contains(Role::Operator));
        let Some(own) = own else { return Ok(true) };
        let kept = self.secrets.read(&own.secret).await?;
        self.own.take(&kept).with_context(|| format!("Secret {} holds no identity", own.secret))
    }
}

impl Publisher {
    fn take(&mut self, kept: &Kept) -> anyhow::Result<bool> {
        let parts = ["tls.crt", "tls.key", "ca.crt"].map(|key| kept.get(key));
        if parts.iter().all(|part| part.is_empty()) {
            // The leader will fill it.
            return Ok(self.newest.is_some());
        }
        let read = parts.concat();
        if self.newest.is_some() && read == self.read {
            return Ok(true);
        }
        let [certificate, key, ca] = parts;
        let identity = Arc::new(Identity::from_pem(certificate, key, ca)?);
        self.read = read;
        match &self.newest {
            Some(newest) => drop(newest.send_replace(identity)),
            None => {
                let (sender, receiver) = watch::channel(identity);
                self.newest = Some(sender);
                if let Some(first) = self.first.take() {
                    // Nobody waits when the process ends.
                    let _ = first.send(receiver);
                }
            }
        }
        info!("the operator has its identity");
        Ok(true)
    }
}

fn seconds(duration: Duration) -> i64 {
    i64::try_from(duration.as_secs()).unwrap_or(i64::MAX / 4)
}
