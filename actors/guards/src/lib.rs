//! What is looked for in bodies: today, what is hidden of them before they are kept. Pure: no clock, no file, no chance, no runtime.

mod detect;
mod json;
pub mod mask;
