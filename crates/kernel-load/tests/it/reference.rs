//! Every layer in f64, as its documentation says, one multiplication at a time.

use kasmina_kernel_load::{Activation, LayerSpec, NORM_EPSILON};

use crate::common::Weights;

/// A tensor in row-major order.
#[derive(Clone, Debug)]
pub(crate) struct Reference {
    pub(crate) shape: Vec<usize>,
    pub(crate) data: Vec<f64>,
}

pub(crate) fn forward(layers: &[LayerSpec], prefix: &str, weights: &Weights, x: Reference) -> Reference {
    layers.iter().enumerate().fold(x, |x, (index, spec)| layer(spec, &format!("{prefix}layers.{index}."), weights, x))
}

fn layer(spec: &LayerSpec, at: &str, weights: &Weights, x: Reference) -> Reference {
    let get = |name: &str| weights.get(&format!("{at}{name}")).map(|w| w.iter().map(|&w| f64::from(w)).collect());
    let tensor = |name: &str| -> Vec<f64> { get(name).unwrap() };
    let rows = |x: &Reference, path: &str| linear(x, &tensor(&format!("{path}.weight")), get(&format!("{path}.bias")));
    match spec {
        LayerSpec::Linear { .. } => rows(&x, "Linear"),
        LayerSpec::LowRank { .. } => rows(&rows(&x, "LowRank.down"), "LowRank.up"),
        LayerSpec::Conv2d { channels_out, kernel, padding, dilation, groups, .. } => {
            let [b, ci, h, w] = x.shape[..] else { panic!("rank 4") };
            let (weight, bias) = (tensor("Conv2d.weight"), get("Conv2d.bias").unwrap_or(vec![0.0; *channels_out]));
            let oh = h + 2 * padding[0] - dilation[0] * (kernel[0] - 1);
            let ow = w + 2 * padding[1] - dilation[1] * (kernel[1] - 1);
            let (gi, go) = (ci / groups, channels_out / groups);
            let mut data = Vec::new();
            for (n, o, y, z) in grid([b, *channels_out, oh, ow]) {
                let mut sum = bias[o];
                for (_, i, u, v) in grid([1, gi, kernel[0], kernel[1]]) {
                    let (r, c) = (y + u * dilation[0], z + v * dilation[1]);
                    if (padding[0]..padding[0] + h).contains(&r) && (padding[1]..padding[1] + w).contains(&c) {
                        let channel = o / go * gi + i;
                        let pixel = ((n * ci + channel) * h + r - padding[0]) * w + c - padding[1];
                        sum += x.data[pixel] * weight[((o * gi + i) * kernel[0] + u) * kernel[1] + v];
                    }
                }
                data.push(sum);
            }
            Reference { shape: vec![b, *channels_out, oh, ow], data }
        }
        LayerSpec::LayerNorm { channels } => {
            let (gamma, beta) = (tensor("LayerNorm.gamma"), tensor("LayerNorm.beta"));
            let data = x.data.chunks(*channels).flat_map(|row| {
                normalise(row).into_iter().enumerate().map(|(c, v)| v * gamma[c] + beta[c]).collect::<Vec<_>>()
            });
            Reference { data: data.collect(), shape: x.shape.clone() }
        }
        LayerSpec::GroupNorm { channels, groups } => {
            let (gamma, beta) = (tensor("GroupNorm.gamma"), tensor("GroupNorm.beta"));
            let pixels: usize = x.shape[2..].iter().product();
            let normal: Vec<f64> = x.data.chunks(channels / groups * pixels).flat_map(normalise).collect();
            let data = normal.iter().enumerate().map(|(index, v)| {
                let c = index / pixels % channels;
                v * gamma[c] + beta[c]
            });
            Reference { data: data.collect(), shape: x.shape }
        }
        LayerSpec::Activation(function) => map(x, |v| match function {
            Activation::Relu => v.max(0.0),
            Activation::Gelu => v * 0.5 * (1.0 + erf(v / 2_f64.sqrt())),
            Activation::Silu => v * sigmoid(v),
            Activation::Tanh => v.tanh(),
            Activation::Sigmoid => sigmoid(v),
        }),
        LayerSpec::Residual { layers } => {
            let inner = forward(layers, &format!("{at}Residual."), weights, x.clone());
            Reference { data: x.data.iter().zip(inner.data).map(|(a, b)| a + b).collect(), shape: x.shape }
        }
        LayerSpec::SqueezeExcite { channels, .. } => {
            let channel = |index: usize| match x.shape[..] {
                [_, _] | [_, _, _] => index % channels,
                _ => index / (x.shape[2] * x.shape[3]) % channels,
            };
            let per_sample = x.data.len() / x.shape[0];
            let mut mean = vec![0.0; x.shape[0] * channels];
            for (index, v) in x.data.iter().enumerate() {
                mean[index / per_sample * channels + channel(index)] += v * *channels as f64 / per_sample as f64;
            }
            let mean = Reference { shape: vec![x.shape[0], *channels], data: mean };
            let hidden = map(rows(&mean, "SqueezeExcite.reduce"), |v| v.max(0.0));
            let gate = map(rows(&hidden, "SqueezeExcite.expand"), sigmoid).data;
            let scaled =
                x.data.iter().enumerate().map(|(i, v)| v * gate[i / per_sample * channels + channel(i)]).collect();
            Reference { data: scaled, shape: x.shape }
        }
        LayerSpec::Attention { channels, heads, causal } => {
            let [b, t, _] = x.shape[..] else { panic!("rank 3") };
            let width = channels / heads;
            let [q, k, v] = ["query", "key", "value"].map(|part| rows(&x, &format!("Attention.{part}")).data);
            let mut mixed = vec![0.0; x.data.len()];
            for (n, head, i, _) in grid([b, *heads, t, 1]) {
                let at = |token: usize| (n * t + token) * channels + head * width;
                let dot = |j: usize| (0..width).map(|c| q[at(i) + c] * k[at(j) + c]).sum::<f64>();
                let seen = if *causal { i + 1 } else { t };
                let scores: Vec<f64> = (0..seen).map(|j| (dot(j) / (width as f64).sqrt()).exp()).collect();
                let total: f64 = scores.iter().sum();
                for (c, (j, score)) in (0..width).flat_map(|c| scores.iter().enumerate().map(move |s| (c, s))) {
                    mixed[at(i) + c] += score / total * v[at(j) + c];
                }
            }
            rows(&Reference { shape: x.shape, data: mixed }, "Attention.output")
        }
        LayerSpec::Scale { channels } => {
            let gamma = tensor("Scale.gamma");
            let pixels = if x.shape.len() == 4 { x.shape[2] * x.shape[3] } else { 1 };
            let data = x.data.iter().enumerate().map(|(index, v)| v * gamma[index / pixels % channels]).collect();
            Reference { data, shape: x.shape }
        }
        LayerSpec::Identity {} => x,
    }
}

fn linear(x: &Reference, weight: &[f64], bias: Option<Vec<f64>>) -> Reference {
    let channels_in = *x.shape.last().unwrap();
    let channels_out = weight.len() / channels_in;
    let bias = bias.unwrap_or(vec![0.0; channels_out]);
    let rows = x.data.chunks(channels_in).flat_map(|row| {
        let output =
            |o: usize| bias[o] + row.iter().enumerate().map(|(i, v)| v * weight[i * channels_out + o]).sum::<f64>();
        (0..channels_out).map(output).collect::<Vec<_>>()
    });
    let shape = [&x.shape[..x.shape.len() - 1], &[channels_out]].concat();
    Reference { data: rows.collect(), shape }
}

fn normalise(values: &[f64]) -> Vec<f64> {
    let count = values.len() as f64;
    let mean = values.iter().sum::<f64>() / count;
    let variance = values.iter().map(|v| (v - mean).powi(2)).sum::<f64>() / count;
    values.iter().map(|v| (v - mean) / (variance + NORM_EPSILON).sqrt()).collect()
}

fn map(x: Reference, f: impl Fn(f64) -> f64) -> Reference {
    Reference { data: x.data.into_iter().map(f).collect(), shape: x.shape }
}

fn sigmoid(v: f64) -> f64 {
    1.0 / (1.0 + (-v).exp())
}

/// Simpson's rule with 200 intervals: good to 1e-10 for |x| < 4.
fn erf(x: f64) -> f64 {
    let step = x / 200.0;
    let weight = |i: usize| {
        if i == 0 || i == 200 {
            1.0
        } else if i % 2 == 1 {
            4.0
        } else {
            2.0
        }
    };
    let sum: f64 = (0..=200).map(|i| weight(i) * (-(i as f64 * step).powi(2)).exp()).sum();
    sum * step / 3.0 * 2.0 / std::f64::consts::PI.sqrt()
}

fn grid(sides: [usize; 4]) -> impl Iterator<Item = (usize, usize, usize, usize)> {
    let [a, b, c, d] = sides;
    (0..a * b * c * d).map(move |i| (i / (b * c * d), i / (c * d) % b, i / d % c, i % d))
}
