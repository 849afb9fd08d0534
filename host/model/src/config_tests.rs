use super::*;
use serde_json::{Value, json};

/// LLaMA 3.2 1B's configuration, which has every kind of key.
fn llama32() -> Value {
    json!({
        "architectures": ["LlamaForCausalLM"], "model_type": "llama", "attention_bias": false,
        "bos_token_id": 128000, "eos_token_id": [128001, 128008, 128009], "head_dim": 64,
        "hidden_act": "silu", "hidden_size": 2048, "intermediate_size": 8192,
        "max_position_embeddings": 131072, "mlp_bias": false, "num_attention_heads": 32,
        "num_hidden_layers": 16, "num_key_value_heads": 8, "pretraining_tp": 1, "rms_norm_eps": 1e-5,
        "rope_scaling": {
            "factor": 32.0, "high_freq_factor": 4.0, "low_freq_factor": 1.0,
            "original_max_position_embeddings": 8192, "rope_type": "llama3"
        },
        "rope_theta": 500000.0, "tie_word_embeddings": true, "torch_dtype": "bfloat16", "vocab_size": 128256
    })
}

fn read(value: &Value) -> Result<LlamaConfig, ConfigError> {
    let dir = tempfile::tempdir().unwrap();
    std::fs::write(dir.path().join("config.json"), value.to_string()).unwrap();
    LlamaConfig::read(dir.path())
}

/// LLaMA 3.2's configuration with some keys set, or taken out where the value is the string `-`.
fn changed(changes: Value) -> Value {
    let mut value = llama32();
    for (key, change) in changes.as_object().unwrap() {
        if change == "-" {
            value.as_object_mut().unwrap().remove(key);
        } else {
            value[key] = change.clone();
        }
    }
    value
}

#[test]
fn reads_llama() {
    let config = read(&llama32()).unwrap();
    assert_eq!(config.architecture, Architecture::Llama);
    assert_eq!((config.query_size(), config.key_size()), (2048, 512));
    assert!(config.tie_word_embeddings);
    assert_eq!(config.eos_token_ids, [128001, 128008, 128009]);
    assert_eq!(config.sliding_window, None);
    assert_eq!(config.rope.theta, 500000.0);
    let expected = RopeScaling::Llama3 {
        factor: 32.0,
        low_freq_factor: 1.0,
        high_freq_factor: 4.0,
        original_context: 8192,
    };
    assert_eq!(config.rope.scaling, expected);
}

#[test]
fn the_newer_rope_keys_mean_the_same() {
    let mut parameters = llama32()["rope_scaling"].clone();
    parameters["rope_theta"] = json!(500000.0);
    let newer = changed(json!({"rope_scaling": "-", "rope_theta": "-", "rope_parameters": parameters}));
    assert_eq!(read(&newer).unwrap(), read(&llama32()).unwrap());
}

#[test]
fn absent_keys_have_the_defaults_of_transformers() {
    let changes = json!({
        "head_dim": null, "num_key_value_heads": "-", "rope_scaling": null, "rope_theta": "-",
        "rms_norm_eps": "-", "tie_word_embeddings": "-", "hidden_act": "-", "max_position_embeddings": "-"
    });
    let config = read(&changed(changes.clone())).unwrap();
    assert_eq!((config.head_dim, config.num_key_value_heads), (64, 32));
    assert_eq!((config.rope.theta, config.rope.scaling), (10_000.0, RopeScaling::Default));
    assert_eq!((config.rms_norm_eps, config.max_position_embeddings), (1e-6, 2048));
    assert!(!config.tie_word_embeddings);

    let mut mistral = changed(changes);
    mistral["architectures"] = json!(["MistralForCausalLM"]);
    assert!(read(&mistral).unwrap_err().to_string().contains("`model_type`: it is `llama`, but"));
    mistral["model_type"] = json!("mistral");
    let config = read(&mistral).unwrap();
    assert_eq!((config.num_key_value_heads, config.sliding_window), (8, Some(4096)));
    mistral["sliding_window"] = json!(null);
    assert_eq!(read(&mistral).unwrap().sliding_window, None);
}

#[test]
fn no_token_may_be_minus_one() {
    let tokens = json!({"bos_token_id": -1, "eos_token_id": [2, -1], "pad_token_id": -1});
    let config = read(&changed(tokens)).unwrap();
    assert_eq!((config.bos_token_id, config.eos_token_ids), (None, vec![2]));
    assert!(read(&changed(json!({"bos_token_id": -2}))).unwrap_err().to_string().contains("a token number"));
}

#[test]
fn folders_of_other_things_are_told() {
    for (file, words) in [
        ("adapter_config.json", "holds an adapter (adapter_config.json), not a model"),
        ("consolidated.00.pth", "holds consolidated.00.pth and no config.json: this is Meta's own format"),
        ("notes.txt", "config.json cannot be read"),
    ] {
        let dir = tempfile::tempdir().unwrap();
        std::fs::write(dir.path().join(file), "{}").unwrap();
        let message = LlamaConfig::read(dir.path()).unwrap_err().to_string();
        assert!(message.contains(words), "{message}");
    }
}

#[test]
fn rope_scalings() {
    let scaled = |value: Value| {
        read(&changed(json!({"rope_scaling": value, "max_position_embeddings": 16384})))
            .map(|config| config.rope.scaling)
    };
    let linear = scaled(json!({"type": "linear", "factor": 4}));
    assert_eq!(linear.unwrap(), RopeScaling::Linear { factor: 4.0 });
    let dynamic = scaled(json!({"rope_type": "dynamic", "type": "linear", "factor": 2.0}));
    assert_eq!(dynamic.unwrap(), RopeScaling::Dynamic { factor: 2.0 });
    let yarn = scaled(json!({"type": "yarn", "original_max_position_embeddings": 4096, "factor": null}));
    let expected = RopeScaling::Yarn {
        factor: 4.0,
        beta_fast: 32.0,
        beta_slow: 1.0,
        original_context: 4096,
        attention_factor: 1.138629436111989,
        truncate: true,
    };
    assert_eq!(yarn.unwrap(), expected);
    assert_eq!(yarn_attention(40.0, Some(0.707), Some(1.3)), 0.8521510516131852);

    for (value, words) in [
        (json!({"type": "longrope"}), "`longrope` is not supported; supported are default, linear"),
        (json!({"type": "linear"}), "the key `rope_scaling.factor` is missing"),
        (json!({"type": "linear", "factor": 0}), "`rope_scaling.factor`: it is 0"),
        (json!({"type": "linear", "factor": "4"}), "should be a number, but is the string \"4\""),
        (json!({"type": "linear", "factor": 2, "partial_rotary_factor": 0.5}), "only whole heads"),
        (json!([1.0]), "`rope_scaling` should be an object, but is a list"),
    ] {
        let message = scaled(value).unwrap_err().to_string();
        assert!(message.contains(words), "{message}");
    }
}

#[test]
fn wrong_values_are_named() {
    for (changes, words) in [
        (json!({"hidden_size": "-"}), "the key `hidden_size` is missing"),
        (json!({"vocab_size": null}), "the key `vocab_size` is missing"),
        (json!({"hidden_size": "2048"}), "`hidden_size` should be a whole number"),
        (json!({"hidden_size": 2048.5}), "`hidden_size` should be a whole number, but is 2048.5"),
        (json!({"hidden_size": -1}), "`hidden_size` should be a whole number, but is -1"),
        (json!({"intermediate_size": 0}), "`intermediate_size`: it is 0"),
        (json!({"vocab_size": 1u64 << 40}), "beyond any model"),
        (json!({"num_hidden_layers": 2_000_000}), "beyond any model"),
        (json!({"head_dim": 1 << 30}), "beyond any model"),
        (json!({"num_key_value_heads": 5}), "5 key and value heads do not divide the 32 query heads"),
        (json!({"head_dim": null, "num_attention_heads": 24}), "2048 is not a multiple of 24"),
        (json!({"head_dim": 63}), "`head_dim`: it is 63"),
        (json!({"hidden_act": "gelu"}), "only `silu` is supported"),
        (json!({"eos_token_id": ["</s>"]}), "a token number or a list of them"),
        (json!({"rms_norm_eps": -1}), "must not be negative"),
        (json!({"tie_word_embeddings": "yes"}), "should be true or false"),
        (json!({"architectures": ["Qwen2ForCausalLM"]}), "`Qwen2ForCausalLM` is not supported"),
        (json!({"architectures": ["LlamaForSequenceClassification"]}), "supported are LlamaForCausalLM, Mis"),
        (json!({"architectures": "-", "model_type": "gpt2"}), "`gpt2` is not supported"),
        (json!({"architectures": "-", "model_type": "-"}), "the key `architectures` is missing"),
        (json!({"quantization_config": {"quant_method": "gptq"}}), "quantized (gptq)"),
    ] {
        let message = read(&changed(changes)).unwrap_err().to_string();
        assert!(message.contains(words) && message.contains("config.json"), "{message}");
    }
}

#[test]
fn generation_config_gives_the_end_tokens() {
    let dir = tempfile::tempdir().unwrap();
    let mut value = llama32();
    value["eos_token_id"] = json!(128001);
    value["bos_token_id"] = json!(null);
    std::fs::write(dir.path().join("config.json"), value.to_string()).unwrap();
    std::fs::write(
        dir.path().join("generation_config.json"),
        r#"{"bos_token_id": 128000, "eos_token_id": [128001, 128009]}"#,
    )
    .unwrap();
    let config = LlamaConfig::read(dir.path()).unwrap();
    assert_eq!((config.bos_token_id, config.eos_token_ids), (Some(128000), vec![128001, 128009]));
}

#[test]
fn files_that_are_no_configuration() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("config.json");
    let refused = |content: &str| {
        std::fs::write(&path, content).unwrap();
        LlamaConfig::read(dir.path()).unwrap_err()
    };
    assert!(matches!(refused("{"), ConfigError::Json { .. }));
    assert!(matches!(refused("[]"), ConfigError::Type { .. }));
    let pointer = "version https://git-lfs.github.com/spec/v1\noid sha256:00\nsize 12\n";
    assert!(matches!(refused(pointer), ConfigError::LfsPointer { .. }));
    std::fs::remove_file(&path).unwrap();
    assert!(matches!(LlamaConfig::read(dir.path()), Err(ConfigError::Read { .. })));
}
