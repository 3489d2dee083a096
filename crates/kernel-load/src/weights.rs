//! A module's tensors and an optimizer's state as bytes. The ids of the parameters are kept, because the optimizer's state is keyed
//! by them.
//!
//! It works for any Burn module and its optimizer, not only for kernels.

use std::collections::BTreeMap;

use burn::{
    module::{AutodiffModule, Module, ModuleMapper, ModuleVisitor, Param, ParamId},
    optim::Optimizer,
    record::{FullPrecisionSettings, NamedMpkBytesRecorder, Recorder},
    tensor::{Bool, DType, Int, Tensor, TensorData, backend::Backend},
};
use safetensors::{Dtype, SafeTensors, tensor::TensorView};

/// Why weights cannot be written or read. Nothing was changed.
#[allow(missing_docs, reason = "the names say it")]
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error, strum::IntoStaticStr)]
pub enum WeightsError {
    /// `what` is the caller's name for the module or the optimizer.
    #[strum(serialize = "weights_malformed")]
    #[error("{what} cannot be read or written: {detail}")]
    Malformed { what: &'static str, detail: String },
    /// The stored tensors are of another module.
    #[strum(serialize = "weights_mismatch")]
    #[error("{what}: the module has {expected}, but the bytes have {got}")]
    Mismatch { what: &'static str, expected: String, got: String },
    #[strum(serialize = "weights_dtype")]
    #[error("tensors of {got} cannot be written")]
    Dtype { got: String },
}

impl WeightsError {
    /// A stable name for telemetry.
    #[must_use]
    pub fn reason(&self) -> &'static str {
        self.into()
    }
}

/// The key of the parameters' ids in the metadata, in the order of the tensors.
const IDS: &str = "ids";

/// All tensors of a module, including running statistics, as a safetensors file. A tensor's name is its place in the module.
///
/// # Errors
/// [`WeightsError::Dtype`] if safetensors does not support an element type; [`WeightsError::Malformed`].
pub fn module_to_bytes<B: Backend, M: Module<B>>(module: &M) -> Result<Vec<u8>, WeightsError> {
    let mut tensors = Tensors::default();
    module.visit(&mut tensors);
    let malformed = |error: &dyn ToString| WeightsError::Malformed { what: "a module", detail: error.to_string() };
    let ids: Vec<_> = tensors.0.iter().map(|(id, _)| id.val().to_string()).collect();
    let mut views = Vec::new();
    for (place, (_, data)) in tensors.0.iter().enumerate() {
        let dtype = dtype(data.dtype)?;
        let view = TensorView::new(dtype, data.shape.to_vec(), data.as_bytes()).map_err(|error| malformed(&error))?;
        views.push((place.to_string(), view));
    }
    let metadata = [(IDS.to_owned(), ids.join(" "))].into();
    safetensors::serialize(views, Some(metadata)).map_err(|error| malformed(&error))
}

/// The module with the tensors and ids from `bytes`. `what` is its name in errors. Running statistics are shared between clones of a
/// module and are overwritten in place, so pass a [`valid`](AutodiffModule::valid) copy if the original must not change.
///
/// # Errors
/// [`WeightsError::Malformed`], [`WeightsError::Mismatch`].
pub fn module_from_bytes<B: Backend, M: Module<B>>(
    module: M,
    bytes: &[u8],
    what: &'static str,
    device: &B::Device,
) -> Result<M, WeightsError> {
    let malformed = |detail: String| WeightsError::Malformed { what, detail };
    let (_, metadata) = SafeTensors::read_metadata(bytes).map_err(|error| malformed(error.to_string()))?;
    let ids = metadata.metadata().as_ref().and_then(|metadata| metadata.get(IDS));
    let ids = ids.ok_or_else(|| malformed("its metadata has no ids".to_owned()))?;
    let ids = ids.split_whitespace().map(|id| id.parse::<u64>().map(ParamId::from));
    let ids: Vec<ParamId> = ids.collect::<Result<_, _>>().map_err(|_| malformed("an id is not a number".to_owned()))?;
    let stored = SafeTensors::deserialize(bytes).map_err(|error| malformed(error.to_string()))?;

    let mut present = Tensors::default();
    module.visit(&mut present);
    let mismatch = |expected: String, got: String| WeightsError::Mismatch { what, expected, got };
    if (present.0.len(), present.0.len()) != (ids.len(), stored.len()) {
        return Err(mismatch(format!("{} tensors", present.0.len()), format!("{} tensors", stored.len())));
    }
    let mut put = Put { tensors: BTreeMap::new(), place: 0, device };
    for (place, ((_, is), id)) in present.0.iter().zip(ids).enumerate() {
        let view = stored.tensor(&place.to_string()).map_err(|error| malformed(error.to_string()))?;
        if (view.shape(), view.dtype()) != (&is.shape[..], dtype(is.dtype)?) {
            let got = format!("{:?} {:?}", view.dtype(), view.shape());
            return Err(mismatch(format!("{:?} {:?} at {place}", is.dtype, is.shape), got));
        }
        let data = TensorData::from_bytes_vec(view.data().to_vec(), view.shape().to_vec(), is.dtype);
        put.tensors.insert(place, (id, data));
    }
    Ok(module.map(&mut put))
}

/// The optimizer's state, in 32-bit floats.
///
/// # Errors
/// [`WeightsError::Malformed`] if Burn cannot record it.
pub fn optimizer_to_bytes<B, M, O>(optimizer: &O) -> Result<Vec<u8>, WeightsError>
where
    B: burn::tensor::backend::AutodiffBackend,
    M: AutodiffModule<B>,
    O: Optimizer<M, B>,
{
    let recorder = NamedMpkBytesRecorder::<FullPrecisionSettings>::new();
    Recorder::<B>::record(&recorder, optimizer.to_record(), ())
        .map_err(|error| WeightsError::Malformed { what: "an optimizer", detail: error.to_string() })
}

/// The optimizer with the state from `bytes`. `what` is its name in errors.
///
/// # Errors
/// [`WeightsError::Malformed`].
pub fn optimizer_from_bytes<B, M, O>(
    optimizer: O,
    bytes: Vec<u8>,
    what: &'static str,
    device: &B::Device,
) -> Result<O, WeightsError>
where
    B: burn::tensor::backend::AutodiffBackend,
    M: AutodiffModule<B>,
    O: Optimizer<M, B>,
{
    let recorder = NamedMpkBytesRecorder::<FullPrecisionSettings>::new();
    let record = Recorder::<B>::load(&recorder, bytes, device)
        .map_err(|error| WeightsError::Malformed { what, detail: error.to_string() })?;
    Ok(optimizer.load_record(record))
}

/// The name of an element type in safetensors.
fn dtype(dtype: DType) -> Result<Dtype, WeightsError> {
    Ok(match dtype {
        DType::F64 => Dtype::F64,
        DType::F32 | DType::Flex32 => Dtype::F32,
        DType::F16 => Dtype::F16,
        DType::BF16 => Dtype::BF16,
        DType::I64 => Dtype::I64,
        DType::I32 => Dtype::I32,
        DType::I16 => Dtype::I16,
        DType::I8 => Dtype::I8,
        DType::U64 => Dtype::U64,
        DType::U32 => Dtype::U32,
        DType::U16 => Dtype::U16,
        DType::U8 => Dtype::U8,
        DType::Bool(_) => Dtype::BOOL,
        // Burn's other types are quantised, and no host trains in them.
        other => return Err(WeightsError::Dtype { got: format!("{other:?}") }),
    })
}

/// Collects tensors in the order in which a module visits them.
#[derive(Default)]
struct Tensors(Vec<(ParamId, TensorData)>);

impl<B: Backend> ModuleVisitor<B> for Tensors {
    fn visit_float<const D: usize>(&mut self, param: &Param<Tensor<B, D>>) {
        self.0.push((param.id, param.val().into_data()));
    }

    fn visit_int<const D: usize>(&mut self, param: &Param<Tensor<B, D, Int>>) {
        self.0.push((param.id, param.val().into_data()));
    }

    fn visit_bool<const D: usize>(&mut self, param: &Param<Tensor<B, D, Bool>>) {
        self.0.push((param.id, param.val().into_data()));
    }
}

/// Replaces a module's tensors, in the same order. The new ones must fit.
struct Put<'a, B: Backend> {
    tensors: BTreeMap<usize, (ParamId, TensorData)>,
    place: usize,
    device: &'a B::Device,
}

impl<B: Backend> Put<'_, B> {
    fn next(&mut self) -> Option<(ParamId, TensorData)> {
        self.place += 1;
        self.tensors.remove(&(self.place - 1))
    }
}

impl<B: Backend> ModuleMapper<B> for Put<'_, B> {
    fn map_float<const D: usize>(&mut self, param: Param<Tensor<B, D>>) -> Param<Tensor<B, D>> {
        let Some((id, data)) = self.next() else { return param };
        let dtype = data.dtype;
        let tensor = Tensor::from_data(data, (self.device, dtype)).set_require_grad(param.is_require_grad());
        // What a layer does to its weights when a recorder saves or loads them stays with the parameter.
        let (_, _, mapper) = param.consume();
        Param::from_mapped_value(id, tensor, mapper)
    }

    fn map_int<const D: usize>(&mut self, param: Param<Tensor<B, D, Int>>) -> Param<Tensor<B, D, Int>> {
        let Some((id, data)) = self.next() else { return param };
        let dtype = data.dtype;
        let (_, _, mapper) = param.consume();
        Param::from_mapped_value(id, Tensor::from_data(data, (self.device, dtype)), mapper)
    }

    fn map_bool<const D: usize>(&mut self, param: Param<Tensor<B, D, Bool>>) -> Param<Tensor<B, D, Bool>> {
        let Some((id, data)) = self.next() else { return param };
        let (_, _, mapper) = param.consume();
        Param::from_mapped_value(id, Tensor::from_data(data, self.device), mapper)
    }
}
