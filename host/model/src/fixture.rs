//! Small model folders for tests.

use safetensors::{Dtype, tensor::TensorView};
use serde_json::{Value, json};
use std::{collections::BTreeMap, fs, path::Path};

/// A tensor to write: name, type, shape, bytes.
pub(crate) type Stored = (String, Dtype, Vec<usize>, Vec<u8>);

/// The configuration of a model of two tiny blocks.
pub(crate) fn config() -> Value {
    json!({
        "architectures": ["LlamaForCausalLM"], "model_type": "llama", "hidden_act": "silu",
        "hidden_size": 8, "intermediate_size": 12, "num_hidden_layers": 2, "num_attention_heads": 2,
        "num_key_value_heads": 1, "vocab_size": 16, "max_position_embeddings": 32, "rms_norm_eps": 1e-5,
        "tie_word_embeddings": false, "bos_token_id": 1, "eos_token_id": 2
    })
}

/// The tensors of [`config`]'s model, block by block, in the order of the forward pass. The bytes of each
/// differ.
pub(crate) fn tensors(dtype: Dtype) -> Vec<Stored> {
    let mut shapes = vec![("model.embed_tokens.weight".to_owned(), vec![16, 8])];
    for block in 0..2 {
        for (module, shape) in [
            ("input_layernorm", vec![8]),
            ("self_attn.q_proj", vec![8, 8]),
            ("self_attn.k_proj", vec![4, 8]),
            ("self_attn.v_proj", vec![4, 8]),
            ("self_attn.o_proj", vec![8, 8]),
            ("post_attention_layernorm", vec![8]),
            ("mlp.gate_proj", vec![12, 8]),
            ("mlp.up_proj", vec![12, 8]),
            ("mlp.down_proj", vec![8, 12]),
        ] {
            shapes.push((format!("model.layers.{block}.{module}.weight"), shape));
        }
    }
    shapes.push(("model.norm.weight".to_owned(), vec![8]));
    shapes.push(("lm_head.weight".to_owned(), vec![16, 8]));
    shapes
        .into_iter()
        .enumerate()
        .map(|(number, (name, shape))| {
            let bytes = shape.iter().product::<usize>() * dtype.bitsize() / 8;
            let data = (0..bytes).map(|i| (i * 7 + number * 13) as u8).collect();
            (name, dtype, shape, data)
        })
        .collect()
}

/// The bytes of a safetensors file with these tensors.
pub(crate) fn safetensors(tensors: &[Stored], metadata: &[(&str, &str)]) -> Vec<u8> {
    let views = tensors.iter().map(|(name, dtype, shape, data)| {
        (name.as_str(), TensorView::new(*dtype, shape.clone(), data).unwrap())
    });
    let metadata = metadata.iter().map(|(key, value)| ((*key).to_owned(), (*value).to_owned())).collect();
    safetensors::serialize(views, Some(metadata)).unwrap()
}

/// Writes a model folder with all weights in `model.safetensors`.
pub(crate) fn single(dir: &Path, config: &Value, tensors: &[Stored]) {
    fs::create_dir_all(dir).unwrap();
    fs::write(dir.join("config.json"), config.to_string()).unwrap();
    fs::write(dir.join("model.safetensors"), safetensors(tensors, &[("format", "pt")])).unwrap();
}

/// Writes a model folder with the weights in shards of so many tensors each; gives back the shards' names.
pub(crate) fn sharded(dir: &Path, config: &Value, tensors: &[Stored], each: usize) -> Vec<String> {
    fs::create_dir_all(dir).unwrap();
    fs::write(dir.join("config.json"), config.to_string()).unwrap();
    let shards: Vec<_> = tensors.chunks(each).collect();
    let mut weight_map = BTreeMap::new();
    let mut files = Vec::new();
    for (number, shard) in shards.iter().enumerate() {
        let file = format!("model-{:05}-of-{:05}.safetensors", number + 1, shards.len());
        fs::write(dir.join(&file), safetensors(shard, &[("format", "pt")])).unwrap();
        weight_map.extend(shard.iter().map(|(name, ..)| (name.clone(), file.clone())));
        files.push(file);
    }
    let total: usize = tensors.iter().map(|(.., data)| data.len()).sum();
    let index = json!({"metadata": {"total_size": total}, "weight_map": weight_map});
    fs::write(dir.join("model.safetensors.index.json"), index.to_string()).unwrap();
    files
}
