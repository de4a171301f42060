//! The elementary functions of one number.
//!
//! The functions of the standard library depend on the platform. The functions here are those of vectors with one lane,
//! so values from data, constants and compiled programs are bit-identical on every machine.

use fearless_simd::{Level, dispatch};

macro_rules! scalar {
    ($($(#[$doc:meta])* $name:ident($($x:ident),+);)+) => {
        $(
            $(#[$doc])*
            #[must_use]
            pub fn $name($($x: f64),+) -> f64 {
                // A fused multiply-add is an instruction only in a dispatched call.
                dispatch!(Level::new(), _simd => super::$name::<f64>($($x),+))
            }
        )+
    };
}

scalar! {
    /// Returns eˣ.
    exp(x);
    /// Returns the natural logarithm.
    ln(x);
    /// Returns the logarithm to base 2.
    log2(x);
    /// Returns the logarithm to base 10.
    log10(x);
    /// Returns x to the power y.
    pow(x, y);
    /// Returns the sine of radians.
    sin(x);
    /// Returns the cosine of radians.
    cos(x);
    /// Returns the tangent of radians.
    tan(x);
    /// Returns the inverse tangent in radians.
    atan(x);
    /// Returns the hyperbolic tangent.
    tanh(x);
    /// Returns the logistic function, 1 / (1 + e⁻ˣ).
    sigmoid(x);
}
