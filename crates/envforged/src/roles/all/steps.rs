//! What the person who starts a box sees: a line per step with its time, on standard error.
//!
//! With JSON logs each step is a log event instead, so that the stream stays one object a line.

use crate::telemetry::is_json;
use std::io::Write as _;
use tokio::time::Instant;

/// The steps of a start.
#[derive(Debug)]
pub(crate) struct Steps {
    begun: Instant,
    step: Instant,
    is_json: bool,
}

impl Steps {
    pub(crate) fn new() -> Self {
        Self { begun: Instant::now(), step: Instant::now(), is_json: is_json() }
    }

    /// A step is done; the next begins.
    pub(crate) fn done(&mut self, step: &str, detail: &str) {
        let elapsed = self.step.elapsed();
        self.step = Instant::now();
        if self.is_json {
            tracing::info!(step, elapsed_ms = elapsed.as_millis() as u64, detail, "step done");
        } else {
            Self::line(&format!("  ✓ {step:<9} {:>6.2} s  {detail}", elapsed.as_secs_f64()));
        }
    }

    /// Something worth knowing that is no step.
    pub(crate) fn note(&self, text: &str) {
        if self.is_json {
            tracing::info!("{text}");
        } else {
            Self::line(&format!("  ! {text}"));
        }
    }

    /// Everything answers.
    pub(crate) fn up(&self, facts: &[(&str, String)]) {
        let elapsed = self.begun.elapsed();
        if self.is_json {
            let facts: serde_json::Map<_, _> =
                facts.iter().map(|(name, fact)| ((*name).to_owned(), fact.clone().into())).collect();
            tracing::info!(elapsed_ms = elapsed.as_millis() as u64, facts = %serde_json::Value::Object(facts), "EnvForge is up");
            return;
        }
        Self::line(&format!("EnvForge is up in {:.2} s", elapsed.as_secs_f64()));
        for (name, fact) in facts {
            Self::line(&format!("  {name:<11} {fact}"));
        }
    }

    fn line(text: &str) {
        // Whoever closed our standard error does not want to read it.
        let _ = writeln!(std::io::stderr(), "{text}");
    }
}
