//! A list of layers as a module.
//!
//! Burn derives records with bounds on the record of every field, and for layers in layers these bounds never end. This list is
//! between a layer and its inner layers; the serialisation of its record has no such bounds.

use burn::module::{
    AutodiffModule, Content, Devices, HasAutodiffModule, Module, ModuleDisplay, ModuleDisplayDefault, ModuleMapper,
    ModuleVisitor,
};
use burn::record::{PrecisionSettings, Record};
use burn::tensor::backend::{AutodiffBackend, Backend};
use serde::{Deserialize, Deserializer, Serialize, Serializer};

use crate::blocks::Layer;

type List<B> = Vec<Layer<B>>;
type ListRecord<B> = <List<B> as Module<B>>::Record;
type ListItem<B, S> = <ListRecord<B> as Record<B>>::Item<S>;

/// Layers that run one after the other.
#[derive(Clone, Debug)]
pub struct Layers<B: Backend>(pub(crate) List<B>);

/// The record of [`Layers`].
pub struct LayersRecord<B: Backend>(ListRecord<B>);

/// The serialised record of [`Layers`].
pub struct LayersRecordItem<B: Backend, S: PrecisionSettings>(ListItem<B, S>);

impl<B: Backend> Module<B> for Layers<B> {
    type Record = LayersRecord<B>;

    fn collect_devices(&self, devices: Devices<B>) -> Devices<B> {
        self.0.collect_devices(devices)
    }

    fn fork(self, device: &B::Device) -> Self {
        Self(self.0.fork(device))
    }

    fn to_device(self, device: &B::Device) -> Self {
        Self(self.0.to_device(device))
    }

    fn visit<V: ModuleVisitor<B>>(&self, visitor: &mut V) {
        self.0.visit(visitor);
    }

    fn map<M: ModuleMapper<B>>(self, mapper: &mut M) -> Self {
        Self(self.0.map(mapper))
    }

    fn load_record(self, record: LayersRecord<B>) -> Self {
        Self(self.0.load_record(record.0))
    }

    fn into_record(self) -> LayersRecord<B> {
        LayersRecord(self.0.into_record())
    }
}

impl<B: AutodiffBackend> AutodiffModule<B> for Layers<B> {
    type InnerModule = Layers<B::InnerBackend>;

    fn valid(&self) -> Self::InnerModule {
        Layers(self.0.valid())
    }

    fn from_inner(module: Self::InnerModule) -> Self {
        Self(AutodiffModule::from_inner(module.0))
    }
}

impl<B: AutodiffBackend> HasAutodiffModule<B> for Layers<B::InnerBackend> {
    type TrainModule = Layers<B>;
}

impl<B: Backend> ModuleDisplayDefault for Layers<B> {
    fn content(&self, content: Content) -> Option<Content> {
        self.0.content(content)
    }

    fn num_params(&self) -> usize {
        Module::num_params(self)
    }
}

impl<B: Backend> ModuleDisplay for Layers<B> {}

impl<B: Backend> Record<B> for LayersRecord<B> {
    type Item<S: PrecisionSettings> = LayersRecordItem<B, S>;

    fn into_item<S: PrecisionSettings>(self) -> Self::Item<S> {
        LayersRecordItem(self.0.into_item())
    }

    fn from_item<S: PrecisionSettings>(item: Self::Item<S>, device: &B::Device) -> Self {
        Self(Record::from_item::<S>(item.0, device))
    }
}

impl<B: Backend, S: PrecisionSettings> Clone for LayersRecordItem<B, S> {
    fn clone(&self) -> Self {
        Self(self.0.clone())
    }
}

impl<B: Backend, S: PrecisionSettings> Serialize for LayersRecordItem<B, S> {
    fn serialize<T: Serializer>(&self, serializer: T) -> Result<T::Ok, T::Error> {
        self.0.serialize(serializer)
    }
}

impl<'de, B: Backend, S: PrecisionSettings> Deserialize<'de> for LayersRecordItem<B, S> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        ListItem::<B, S>::deserialize(deserializer).map(Self)
    }
}
