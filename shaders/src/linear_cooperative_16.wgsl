// parts/cooperative.wgsl with matrices of 16 × 16 × 16, as NVIDIA's and AMD's GPUs have them.

enable f16;
enable wgpu_cooperative_matrix;

const SIDE = 16u;
alias Left = coop_mat16x16<f16, A>;
alias Right = coop_mat16x16<f16, B>;
alias Sum = coop_mat16x16<f32, C>;

//!include cooperative
