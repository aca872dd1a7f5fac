"""`UsoPipeline`: USO as a diffusers pipeline, at FLUX.1-dev size or compact, for inference and as an expert.

Zero, one or several content images, zero, one or several style images, and a prompt that may be empty (then the
content's layout is kept). The compact model that ships is the same class at small size.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, ClassVar, Literal, TypeAlias, TypeVar, get_args

import torch
from diffusers import AutoencoderKL, DiffusionPipeline, FlowMatchEulerDiscreteScheduler, FluxTransformer2DModel
from diffusers.pipelines.pipeline_utils import ImagePipelineOutput
from diffusers.utils.torch_utils import randn_tensor
from PIL import Image
from torch import Tensor

from curate.images import from_unit_range
from pipelines.data.transforms import Size, content_reference, content_size, crop_resize, squeeze, to_model
from pipelines.uso.encoders import (
    decode_latents,
    encode_latents,
    encode_prompts,
    style_pixels,
    vision_states,
)
from pipelines.uso.model import Conditions, UsoDenoiser
from pipelines.uso.patch_autoencoder import PatchAutoencoder
from pipelines.uso.projector import StyleProjector
from pipelines.uso.schedule import Shift, shift_mu
from pipelines.uso.tokens import PATCH, Positions

StyleEncoding = Literal["vision", "vae"]
Picture: TypeAlias = Image.Image | None
References: TypeAlias = Picture | Sequence["Picture | Sequence[Image.Image]"]
Item = TypeVar("Item")


class UsoPipeline(DiffusionPipeline):  # type: ignore[misc]
    """Components as FLUX.1-dev has them, plus SigLIP (`vision_encoder`, `vision_processor`) and the projector.

    positions        where content tokens are: "diagonal" (released) or "aligned"
    style_encoding   "vision": style tokens from the projector (released); "vae": the style image goes through the VAE
                     as content does, after it (the paper's ablation: one shared encoder); there is no projector then.
                     Without a content its place stays free, as it does in training, where a dropped one is masked
    content_px       long side of content images; None: they are cut to the size of the output, as trainings without
                     `content_size_px` do. Where style images go through the VAE they are squares of it
    size_px          the default side of the output
    max_text_tokens  length that prompts are padded to
    shift            see `pipelines.uso.schedule`
    """

    model_cpu_offload_seq = "text_encoder->text_encoder_2->vision_encoder->projector->transformer->vae"
    _optional_components: ClassVar[list[str]] = ["vision_encoder", "vision_processor", "projector"]

    def __init__(
        self,
        transformer: FluxTransformer2DModel,
        vae: AutoencoderKL | PatchAutoencoder,
        text_encoder: Any,
        tokenizer: Any,
        text_encoder_2: Any,
        tokenizer_2: Any,
        scheduler: FlowMatchEulerDiscreteScheduler,
        vision_encoder: Any = None,
        vision_processor: Any = None,
        projector: StyleProjector | None = None,
        positions: str = "diagonal",
        style_encoding: str = "vision",
        content_px: int | None = 512,
        size_px: int = 1024,
        max_text_tokens: int = 512,
        shift: str = "tokens",
    ) -> None:
        super().__init__()
        for name, value, known in (  # `str` above, because diffusers cannot read a Literal's annotation and says so
            ("positions", positions, get_args(Positions)),
            ("style_encoding", style_encoding, get_args(StyleEncoding)),
            ("shift", shift, get_args(Shift)),
        ):
            if value not in known:
                raise ValueError(f"{name} is {value!r}; it must be one of {', '.join(known)}")
        self.register_modules(
            transformer=transformer,
            vae=vae,
            text_encoder=text_encoder,
            tokenizer=tokenizer,
            text_encoder_2=text_encoder_2,
            tokenizer_2=tokenizer_2,
            scheduler=scheduler,
            vision_encoder=vision_encoder,
            vision_processor=vision_processor,
            projector=projector,
        )
        self.register_to_config(
            positions=positions,
            style_encoding=style_encoding,
            content_px=content_px,
            size_px=size_px,
            max_text_tokens=max_text_tokens,
            shift=shift,
        )

    @property
    def vae_factor(self) -> int:
        """Pixels along a latent pixel's side; 8 in FLUX."""
        if isinstance(self.vae, PatchAutoencoder):
            return int(self.vae.spatial_compression_ratio)
        return int(2 ** (len(self.vae.config.block_out_channels) - 1))

    @property
    def denoiser(self) -> UsoDenoiser:
        """Transformer and projector together; made anew at each call, over the same weights."""
        return UsoDenoiser(self.transformer, self.projector, positions=self.config.positions)

    @torch.no_grad()
    def __call__(
        self,
        prompt: str | Sequence[str] = "",
        image: References = None,
        style_image: References = None,
        *,
        prompt_embeds: Tensor | None = None,
        pooled_prompt_embeds: Tensor | None = None,
        height: int | None = None,
        width: int | None = None,
        num_inference_steps: int = 25,
        guidance_scale: float = 4.0,
        generator: torch.Generator | Sequence[torch.Generator] | None = None,
        output_type: Literal["pil", "pt"] = "pil",
    ) -> ImagePipelineOutput:
        """Make one picture for each prompt.

        image, style_image  content and style references: one for all, or one entry a prompt, and an entry may be None
                            or a list of several
        ..._embeds          what `encode_prompt` gave, one row for each picture: in place of `prompt`
        height, width       of the output in pixels, multiples of 16
        generator           one for each prompt makes each picture independent of its batch mates
        output_type         "pil" (RGB) or "pt" (float (B, 3, H, W) in [-1, 1])

        Raises ValueError for counts that disagree, sizes that do not fit the VAE, references where the model has no
        encoder for them, and contents of different sizes in one slot of a batch.
        """
        height, width = height or self.config.size_px, width or self.config.size_px
        factor = self.vae_factor
        if height % (PATCH * factor) or width % (PATCH * factor):
            raise ValueError(f"{width} x {height} does not fit: sides must be multiples of {PATCH * factor}")
        contents, styles = _per_prompt(image), _per_prompt(style_image)
        prompts = [prompt] if isinstance(prompt, str) else list(prompt)
        count = max(len(prompts if prompt_embeds is None else prompt_embeds), len(contents), len(styles))
        contents, styles = (
            _spread(name, values, count) for name, values in (("images", contents), ("style images", styles))
        )
        if prompt_embeds is None:
            prompt_embeds, pooled_prompt_embeds = self.encode_prompt(_spread("prompts", prompts, count))
        if pooled_prompt_embeds is None or not len(prompt_embeds) == len(pooled_prompt_embeds) == count:
            raise ValueError(f"give prompt_embeds and pooled_prompt_embeds for each of the {count} pictures")
        conditions = self.encode(prompt_embeds, pooled_prompt_embeds, contents, styles, height=height, width=width)
        size = (height // factor, width // factor)
        channels = self.transformer.config.in_channels // 4
        generators = list(generator) if isinstance(generator, Sequence) else generator
        device, dtype = self._execution_device, self.transformer.dtype
        latents = randn_tensor((count, channels, *size), generator=generators, device=device, dtype=torch.float32)
        sigmas = torch.linspace(1, 1 / num_inference_steps, num_inference_steps).tolist()
        self.scheduler.set_timesteps(sigmas=sigmas, mu=shift_mu(size, self.config.shift), device=device)
        denoiser = self.denoiser
        hook = getattr(self.transformer, "_hf_hook", None)
        if hook is not None:  # of offloading: it waits for the transformer's forward, and `denoise` calls its parts
            hook.pre_forward(self.transformer)
        for step in self.progress_bar(self.scheduler.timesteps):
            sigma = (step / self.scheduler.config.num_train_timesteps).expand(count).to(torch.float32)
            velocity = denoiser(latents.to(dtype), sigma, conditions, guidance_scale)
            latents = self.scheduler.step(velocity.float(), step, latents, return_dict=False)[0]
        pictures = decode_latents(self.vae, latents).float().clamp(-1, 1)
        self.maybe_free_model_hooks()
        return ImagePipelineOutput(images=pictures if output_type == "pt" else from_unit_range(pictures.cpu().numpy()))

    def encode_prompt(self, prompt: str | Sequence[str]) -> tuple[Tensor, Tensor]:
        """Text states (B, max_text_tokens, joint_dim) and pooled (B, pooled_dim) of one prompt or of several."""
        return encode_prompts(
            [prompt] if isinstance(prompt, str) else prompt,
            clip=self.text_encoder,
            clip_tokenizer=self.tokenizer,
            t5=self.text_encoder_2,
            t5_tokenizer=self.tokenizer_2,
            max_tokens=self.config.max_text_tokens,
            device=self._execution_device,
        )

    def encode(
        self,
        text: Tensor,
        pooled: Tensor,
        contents: Sequence[Sequence[Image.Image]],
        styles: Sequence[Sequence[Image.Image]],
        *,
        height: int | None = None,
        width: int | None = None,
    ) -> Conditions:
        """Conditions of B pictures, from a row of `encode_prompt`, a list of contents and one of styles each.

        height, width  of the pictures in pixels, as in the call: contents are cut to it where the model has no size of
                       its own for them. And where the style image goes through the VAE, it lies where it would after a
                       content of that shape, if no picture has one; a picture without one whose mates have contents of
                       another shape has its style image where theirs is
        """
        size = Size(height or self.config.size_px, width or self.config.size_px)
        device, dtype = self._execution_device, self.transformer.dtype
        images, seen = _slots(contents, lambda each: self._prepare_content(each, size))
        latent_size = (size.height // self.vae_factor, size.width // self.vae_factor)
        absent = None if images else self.absent_content(latent_size)
        style_images, style_seen = _slots(styles, lambda each: each.convert("RGB"))
        tokens: list[Tensor] = []
        if style_images and self.config.style_encoding == "vae":
            side = self.config.content_px or self.config.size_px
            images += [[squeeze(each, side) for each in slot] for slot in style_images]
            seen, style_seen = torch.cat([seen, style_seen], dim=1), style_seen[:, :0]
        elif style_images:
            if self.vision_encoder is None or self.projector is None:
                raise ValueError("this pipeline has no vision encoder and projector: it takes no style images")
            for slot in style_images:
                values = style_pixels(slot, self.vision_processor).to(device)
                picked = self.projector.pick(vision_states(self.vision_encoder, values))
                tokens.append(self.projector([state.to(self.projector.dtype) for state in picked]))
        latents = [encode_latents(self.vae, _stack(slot).to(device)).to(dtype) for slot in images]
        return Conditions(
            text=text.to(device, dtype),
            pooled=pooled.to(device, dtype),
            style_tokens=tokens,
            contents=latents,
            style_seen=None if bool(style_seen.all()) else style_seen.to(device),
            content_seen=None if bool(seen.all()) else seen.to(device),
            absent_content=absent,
        )

    def absent_content(self, size: tuple[int, int]) -> tuple[int, int] | None:
        """Latent size (h, w) of the content that pictures of latent `size` lack: that of a content of their shape.

        None where style images do not go through the VAE: then nothing comes after a content.
        """
        if self.config.style_encoding != "vae":
            return None
        if self.config.content_px is None:
            return size
        factor = self.vae_factor
        pixels = content_size(size[1] * factor, size[0] * factor, self.config.content_px)
        return pixels.height // factor, pixels.width // factor

    def _prepare_content(self, image: Image.Image, size: Size) -> Image.Image:
        if self.config.content_px is None:
            return crop_resize(image.convert("RGB"), size)
        return content_reference(image.convert("RGB"), self.config.content_px)


def _per_prompt(references: References) -> list[list[Image.Image]]:
    """Every way to give references -> a list of pictures for each prompt (one entry, if it is for all)."""
    entries = [references] if references is None or isinstance(references, Image.Image) else references
    lists: list[list[Image.Image]] = []
    for entry in entries:
        if entry is None:
            lists.append([])
        else:
            lists.append([entry] if isinstance(entry, Image.Image) else list(entry))
    return lists


def _spread(name: str, values: list[Item], count: int) -> list[Item]:
    if len(values) not in (1, count):
        raise ValueError(f"{len(values)} {name} for {count} pictures: give one for all, or one for each")
    return values * count if len(values) == 1 else values


def _slots(lists: Sequence[Sequence[Image.Image]], prepare: Any) -> tuple[list[list[Image.Image]], Tensor]:
    """Lists of pictures -> one list a slot, with a blank where a list is shorter, and bool (B, slots)."""
    prepared = [[prepare(each) for each in pictures] for pictures in lists]
    num_slots = max(len(pictures) for pictures in prepared)
    slots: list[list[Image.Image]] = []
    for place in range(num_slots):
        some = next(pictures[place] for pictures in prepared if len(pictures) > place)
        blank = Image.new("RGB", some.size)
        slots.append([pictures[place] if len(pictures) > place else blank for pictures in prepared])
    seen = torch.tensor([[len(pictures) > place for place in range(num_slots)] for pictures in prepared])
    return slots, seen.reshape(len(lists), num_slots).bool()


def _stack(pictures: Sequence[Image.Image]) -> Tensor:
    sizes = sorted({picture.size for picture in pictures})
    if len(sizes) > 1:
        raise ValueError(f"contents of one batch must have one size, not {sizes}; call the pipeline for each size")
    return torch.stack([to_model(picture) for picture in pictures])
