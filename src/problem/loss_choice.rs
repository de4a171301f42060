//! A loss as the user asks for it: with a given threshold, or one that follows the scale of the residuals.

use crate::law::Residual;

use super::Loss;
use super::loss::ShortNumber;

/// A loss with a given threshold, such as `huber:1e-3`, or with a multiple of the residuals' scale, such as
/// `huber:1.345*mad`. The scale is estimated along with the parameters (see `optimize::robust_scale`).
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum LossChoice {
    /// A loss with a given threshold.
    Given(Loss),
    /// A loss with the multiple of the scale in place of its threshold.
    OfScale(Loss),
}

/// Huber's threshold with 95 % efficiency under normal noise (Huber & Ronchetti 2009).
const EFFICIENT: f64 = 1.345;

impl LossChoice {
    /// Returns the loss where the user asks for none.
    ///
    /// For residuals of a logarithm it is Huber's loss with a threshold that follows the scale: it costs a few percent
    /// of precision under normal noise and is robust against outliers. For linear residuals it is least squares.
    #[must_use]
    pub fn usual(residual: Residual) -> LossChoice {
        match residual {
            Residual::Log => LossChoice::OfScale(Loss::Huber { delta: EFFICIENT }),
            Residual::Linear => LossChoice::Given(Loss::L2),
        }
    }

    /// Returns whether the loss has a threshold that is given, and does not follow the residuals.
    #[must_use]
    pub fn has_fixed_threshold(self) -> bool {
        matches!(self, LossChoice::Given(Loss::Huber { .. } | Loss::SoftL1 { .. }))
    }

    /// Returns the loss for residuals of the given scale.
    #[must_use]
    pub fn at(self, scale: f64) -> Loss {
        match self {
            LossChoice::Given(loss) => loss,
            LossChoice::OfScale(Loss::L2) => Loss::L2,
            LossChoice::OfScale(Loss::Huber { delta }) => Loss::Huber { delta: delta * scale },
            LossChoice::OfScale(Loss::SoftL1 { delta }) => Loss::SoftL1 { delta: delta * scale },
            LossChoice::OfScale(Loss::Cauchy { delta }) => Loss::Cauchy { delta: delta * scale },
        }
    }
}

impl From<Loss> for LossChoice {
    fn from(loss: Loss) -> LossChoice {
        LossChoice::Given(loss)
    }
}

const SUFFIX: &str = "*mad";

impl std::fmt::Display for LossChoice {
    fn fmt(&self, f: &mut std::fmt::Formatter) -> std::fmt::Result {
        match self {
            LossChoice::Given(loss) => write!(f, "{loss}"),
            LossChoice::OfScale(loss) => match loss {
                Loss::L2 => write!(f, "l2"),
                Loss::Huber { delta } => write!(f, "huber:{}{SUFFIX}", ShortNumber(*delta)),
                Loss::SoftL1 { delta } => write!(f, "soft_l1:{}{SUFFIX}", ShortNumber(*delta)),
                Loss::Cauchy { delta } => write!(f, "cauchy:{}{SUFFIX}", ShortNumber(*delta)),
            },
        }
    }
}

impl std::str::FromStr for LossChoice {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        match text.strip_suffix(SUFFIX) {
            None => text.parse().map(LossChoice::Given),
            Some(factor) if factor.contains(':') => factor.parse().map(LossChoice::OfScale),
            Some(_) => Err(format!(
                "`{text}` is not a loss: a threshold that follows the scale of the residuals is written \
                 huber:1.345*mad, with soft_l1 or cauchy in place of huber"
            )),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_read_and_written() {
        for text in ["l2", "huber:1e-3", "huber:1.345*mad", "soft_l1:2*mad", "cauchy:2.385*mad"] {
            assert_eq!(text.parse::<LossChoice>().unwrap().to_string(), text);
        }
        for text in ["l2*mad", "huber:*mad", "huber:-1*mad", "huber:nan*mad", "huber:2*mean", "*mad"] {
            assert!(text.parse::<LossChoice>().is_err(), "{text}");
        }
    }
}
