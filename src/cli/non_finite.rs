//! `--allow-non-finite`: whether a command goes on where numbers are not finite.

use crate::data::Dataset;
use crate::models::MultiScale;
use crate::train::finite::{listed, non_finite_parameters, parameters_text};
use crate::train::{Evaluation, LogProbs, Team};
use crate::words::counted;
use clap::Args;
use std::path::Path;
use tch::nn::VarStore;

/// What happens where numbers are not finite.
#[derive(Debug, Clone, Copy, Args)]
pub struct NonFinite {
    /// Go on where parameters, images or likelihoods are not finite, and only say so
    #[arg(long)]
    allow_non_finite: bool,
}

impl NonFinite {
    /// Says on standard error what is not finite, if that is allowed.
    ///
    /// # Errors
    /// It is not allowed: what is not finite, and that there is a flag.
    pub fn meet(self, team: &Team, problem: &str) -> anyhow::Result<()> {
        if !self.allow_non_finite {
            anyhow::bail!("{problem}\n--allow-non-finite goes on all the same");
        }
        if team.is_main() {
            eprintln!("not finite: {problem}");
        }
        Ok(())
    }

    /// Looks at the parameters that were loaded from `path`.
    ///
    /// # Errors
    /// Numbers among them that are not finite, if that is not allowed.
    pub fn check_parameters(self, team: &Team, path: &Path, vs: &VarStore) -> anyhow::Result<()> {
        let found = non_finite_parameters(vs)?;
        if found.is_empty() {
            return Ok(());
        }
        let problem = format!("{}: {}", path.display(), parameters_text(&found));
        self.meet(team, &problem)
    }

    /// Looks at the likelihoods of `data`: the images whose number is not finite, if there are some and that is allowed.
    ///
    /// # Errors
    /// There are some, and that is not allowed; what the model reports when it is asked where they come from.
    pub fn meet_log_probs(
        self,
        team: &Team,
        evaluation: &Evaluation,
        model: &MultiScale,
        data: &Dataset,
        log_probs: &LogProbs,
    ) -> anyhow::Result<Option<Lost>> {
        let images = log_probs.not_finite();
        let Some(first) = images.first() else {
            return Ok(None);
        };
        let place = evaluation.where_not_finite(model, data, *first, log_probs)?;
        let problem = format!(
            "{}: the likelihood of {} of {} is not finite ({}), {place}",
            data.name,
            images.len(),
            counted(log_probs.len(), "image"),
            listed(&images)
        );
        self.meet(team, &problem)?;
        Ok(Some(Lost { images, place }))
    }
}

/// Images whose likelihood is not finite.
#[derive(Debug)]
pub struct Lost {
    /// Their indices in the split.
    pub images: Vec<usize>,
    /// Where the numbers of the first of them stop being finite, as the end of a sentence.
    pub place: String,
}
