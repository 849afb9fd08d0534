// parts/cooperative.wgsl with matrices of 8 × 8 × 8, as Apple's GPUs have them.

enable f16;
enable wgpu_cooperative_matrix;

const SIDE = 8u;
alias Left = coop_mat8x8<f16, A>;
alias Right = coop_mat8x8<f16, B>;
alias Sum = coop_mat8x8<f32, C>;

//!include cooperative
