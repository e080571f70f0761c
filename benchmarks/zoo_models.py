"""The models of zoo.sh: real architectures, narrow and shallow, with random weights of fixed seeds.

MODELS at the end is the one list. A Model says how to build the network, its inputs with the names of their dynamic
dims, and the sizes of those dims that every module has to serve. Activations are kept at the order of one: batch norms
get the statistics of a random batch, transformers are initialised by 1 / sqrt(width).
"""

import dataclasses
import functools
import math
from typing import Callable

import torch
import torchvision
import transformers
from torch import nn
from torch.nn import functional as F


@dataclasses.dataclass
class Input:
    name: str
    shape: tuple  # numbers, and names of dynamic dims
    kind: str = "normal"  # normal, image, ids, mask, left_mask
    top: int = 0  # ids are below


@dataclasses.dataclass
class Model:
    name: str
    build: Callable[[], nn.Module]
    inputs: list
    outputs: list
    sizes: list  # of {dim: number}; the first one is the example that is exported
    exporters: tuple = ("script", "dynamo")


def settle(net, *shape):
    """Gives batch norms the statistics of random input, so that activations neither vanish nor explode."""
    norms = [m for m in net.modules() if isinstance(m, nn.modules.batchnorm._BatchNorm)]
    for m in norms:
        m.reset_running_stats()
        m.momentum = None
        m.train()
    with torch.no_grad():
        for _ in range(2):
            net(torch.randn(*shape))
    return net.eval()


# --- torchvision ---

CLASSES = 50


def tv_resnet():
    net = torchvision.models.ResNet(
        torchvision.models.resnet.Bottleneck, [1, 2, 1, 1], num_classes=CLASSES, width_per_group=16
    )
    return settle(net, 2, 3, 64, 64)


def tv_basic(name, **options):
    def build():
        return settle(getattr(torchvision.models, name)(num_classes=CLASSES, **options).eval(), 2, 3, 96, 96)

    return build


def tv_efficientnet():
    settings, last = torchvision.models.efficientnet._efficientnet_conf(
        "efficientnet_b0", width_mult=0.5, depth_mult=0.4
    )
    net = torchvision.models.EfficientNet(settings, dropout=0.0, num_classes=CLASSES, last_channel=last)
    return settle(net.eval(), 2, 3, 64, 64)


def tv_efficientnet_v2():
    block, fused = torchvision.models.efficientnet.MBConvConfig, torchvision.models.efficientnet.FusedMBConvConfig
    settings = [fused(1, 3, 1, 16, 16, 1), fused(4, 3, 2, 16, 24, 1), block(4, 3, 2, 24, 40, 2), block(6, 3, 2, 40, 64, 1)]
    net = torchvision.models.EfficientNet(settings, dropout=0.0, num_classes=CLASSES, last_channel=160)
    return settle(net.eval(), 2, 3, 64, 64)


def tv_convnext():
    block = torchvision.models.convnext.CNBlockConfig
    net = torchvision.models.ConvNeXt(
        [block(24, 48, 1), block(48, 96, 2), block(96, None, 1)], layer_scale=0.5, num_classes=CLASSES
    )
    for m in net.modules():
        if isinstance(m, nn.Conv2d) and m.groups > 1:
            nn.init.normal_(m.weight, std=0.15)
        elif isinstance(m, (nn.Conv2d, nn.Linear)):
            nn.init.normal_(m.weight, std=1 / math.sqrt(m.weight[0].numel()))
    return net.eval()


def tv_vit():
    net = torchvision.models.VisionTransformer(64, 16, 3, 4, 64, 128, num_classes=CLASSES)
    nn.init.normal_(net.heads.head.weight, std=0.125)
    return net.eval()


def tv_swin(version):
    def build():
        kind = torchvision.models.swin_transformer
        block = kind.SwinTransformerBlockV2 if version == 2 else kind.SwinTransformerBlock
        merge = kind.PatchMergingV2 if version == 2 else kind.PatchMerging
        net = torchvision.models.SwinTransformer(
            [4, 4], 24, [2, 2, 2], [2, 4, 8], [4, 4], num_classes=CLASSES, block=block, downsample_layer=merge
        )
        for m in net.modules():
            if isinstance(m, nn.Linear):
                nn.init.normal_(m.weight, std=1 / math.sqrt(m.in_features))
        return net.eval()

    return build


class Lraspp(nn.Module):
    def __init__(self):
        super().__init__()
        self.net = torchvision.models.segmentation.lraspp_mobilenet_v3_large(
            weights=None, weights_backbone=None, num_classes=5
        )

    def forward(self, image):
        return self.net(image)["out"]


class Deeplab(nn.Module):
    def __init__(self):
        super().__init__()
        backbone = torchvision.models.resnet.ResNet(
            torchvision.models.resnet.Bottleneck,
            [1, 1, 1, 1],
            width_per_group=8,
            replace_stride_with_dilation=[False, True, True],
        )
        body = torchvision.models._utils.IntermediateLayerGetter(backbone, {"layer4": "out"})
        head = torchvision.models.segmentation.deeplabv3.DeepLabHead(2048, 5, (2, 4))
        self.net = torchvision.models.segmentation.DeepLabV3(body, head)

    def forward(self, image):
        return self.net(image)["out"]


class Ssdlite(nn.Module):
    """torchvision's detector with its post-processing: boxes, scores and labels of what passes NMS."""

    def __init__(self):
        super().__init__()
        self.net = torchvision.models.detection.ssdlite320_mobilenet_v3_large(
            weights=None, weights_backbone=None, num_classes=6, topk_candidates=40, detections_per_img=30
        )

    def forward(self, image):
        if self.net.training:
            return self.net.backbone(image)
        found = self.net([image[0]])[0]
        return found["boxes"], found["scores"], found["labels"]


class Fcos(nn.Module):
    """An anchor-free detector up to its maps: backbone, pyramid, heads."""

    def __init__(self):
        super().__init__()
        trunk = torchvision.models.resnet.ResNet(
            torchvision.models.resnet.BasicBlock, [1, 1, 1, 1], norm_layer=nn.BatchNorm2d
        )
        self.backbone = torchvision.models.detection.backbone_utils.BackboneWithFPN(
            trunk, {"layer2": "0", "layer3": "1", "layer4": "2"}, [128, 256, 512], 32
        )
        self.head = torchvision.models.detection.fcos.FCOSHead(32, 1, 5, num_convs=2)

    def forward(self, image):
        maps = list(self.backbone(image).values())
        out = self.head(maps)
        return out["cls_logits"], out["bbox_regression"], out["bbox_ctrness"]


# --- networks written here, as people write them ---


class Unet(nn.Module):
    """Odd heights and widths are padded to fit the skip connections."""

    def __init__(self, width=12, classes=3):
        super().__init__()

        def pair(a, b):
            return nn.Sequential(
                nn.Conv2d(a, b, 3, padding=1), nn.BatchNorm2d(b), nn.ReLU(), nn.Conv2d(b, b, 3, padding=1), nn.ReLU()
            )

        self.down = nn.ModuleList([pair(3, width), pair(width, 2 * width), pair(2 * width, 4 * width)])
        self.up = nn.ModuleList(
            [nn.ConvTranspose2d(4 * width, 2 * width, 2, 2), nn.Upsample(scale_factor=2, mode="bilinear")]
        )
        self.join = nn.ModuleList([pair(4 * width, 2 * width), pair(3 * width, width)])
        self.last = nn.Conv2d(width, classes, 1)

    def forward(self, image):
        a = self.down[0](image)
        b = self.down[1](F.max_pool2d(a, 2))
        x = self.down[2](F.max_pool2d(b, 2))
        for up, join, skip in zip(self.up, self.join, (b, a)):
            x = up(x)
            gap_y, gap_x = skip.shape[2] - x.shape[2], skip.shape[3] - x.shape[3]
            x = F.pad(x, [gap_x // 2, gap_x - gap_x // 2, gap_y // 2, gap_y - gap_y // 2])
            x = join(torch.cat([skip, x], 1))
        return self.last(x)


class Yolo(nn.Module):
    """One picture in, boxes out: CSP-like trunk, two scales decoded on grids made of the maps' shapes, NMS per class."""

    def __init__(self, width=16, classes=4):
        super().__init__()

        def conv(a, b, k=3, s=1):
            return nn.Sequential(nn.Conv2d(a, b, k, s, k // 2, bias=False), nn.BatchNorm2d(b), nn.SiLU())

        self.classes = classes
        self.stem = nn.Sequential(conv(3, width, 6 - 1, 2), conv(width, 2 * width, 3, 2))
        self.mid = conv(2 * width, 4 * width, 3, 2)
        self.left, self.right = conv(4 * width, 2 * width, 1), conv(4 * width, 2 * width, 1)
        self.deep = conv(4 * width, 8 * width, 3, 2)
        self.squeeze = conv(32 * width, 4 * width, 1)
        self.heads = nn.ModuleList([nn.Conv2d(8 * width, 3 * (5 + classes), 1), nn.Conv2d(4 * width, 3 * (5 + classes), 1)])
        self.register_buffer("anchors", torch.tensor([[[10, 13], [16, 30], [33, 23]], [[30, 61], [62, 45], [59, 119]]]).float())

    def decode(self, out, stride, anchors):
        n, _, h, w = out.shape
        out = out.view(n, 3, 5 + self.classes, h, w).permute(0, 1, 3, 4, 2)
        y, x = torch.meshgrid(torch.arange(h, device=out.device), torch.arange(w, device=out.device), indexing="ij")
        grid = torch.stack((x, y), 2).to(out.dtype)
        p = out.sigmoid()
        centre = (p[..., 0:2] * 2 - 0.5 + grid) * stride
        size = (p[..., 2:4] * 2) ** 2 * anchors.view(1, 3, 1, 1, 2)
        return torch.cat((centre, size, p[..., 4:]), -1).view(n, -1, 5 + self.classes)

    def forward(self, image):
        x = self.mid(self.stem(image))
        x = torch.cat((self.left(x), self.right(x)), 1)
        d = self.deep(x)
        pools = [d]
        for _ in range(3):
            pools.append(F.max_pool2d(pools[-1], 5, 1, 2))
        d = self.squeeze(torch.cat(pools, 1))
        x = torch.cat((x, F.interpolate(d, scale_factor=2.0)), 1)
        found = torch.cat((self.decode(self.heads[0](x), 8, self.anchors[0]), self.decode(self.heads[1](d), 16, self.anchors[1])), 1)
        if self.training or image.shape[0] > 1 and not torch.onnx.is_in_onnx_export():
            return found
        found = found[0]
        scores, labels = (found[:, 5:] * found[:, 4:5]).max(1)
        half = found[:, 2:4] / 2
        boxes = torch.cat((found[:, :2] - half, found[:, :2] + half), 1)
        strong = torch.nonzero(scores > 0.3).squeeze(1)
        boxes, scores, labels = boxes[strong], scores[strong], labels[strong]
        kept = torchvision.ops.nms(boxes + labels.to(boxes.dtype)[:, None] * 4096, scores, 0.45)[:50]
        return boxes[kept], scores[kept], labels[kept]


class YoloRaw(Yolo):
    """The same without NMS, for any number of pictures."""

    def __init__(self):
        super().__init__()
        self.train(False)

    def forward(self, image):
        was = self.training
        self.training = True
        out = super().forward(image)
        self.training = was
        return out


class Tagger(nn.Module):
    def __init__(self, cell=nn.LSTM, words=500, tags=9):
        super().__init__()
        self.embed = nn.Embedding(words, 32)
        self.cell = cell(32, 24, num_layers=2, bidirectional=True, batch_first=True)
        self.out = nn.Linear(48, tags)

    def forward(self, ids):
        return self.out(self.cell(self.embed(ids))[0])


class Keyword(nn.Module):
    """Spotting words in sound: features from a learned filter bank, depthwise separable convolutions over time."""

    def __init__(self, width=32, words=12):
        super().__init__()
        self.bank = nn.Conv1d(1, 40, 80, stride=40, bias=False)
        layers = [nn.Conv1d(40, width, 1)]
        for step in range(4):
            layers += [
                nn.Conv1d(width, width, 9, padding=4 * 2**step, dilation=2**step, groups=width, bias=False),
                nn.Conv1d(width, width, 1, bias=False),
                nn.BatchNorm1d(width),
                nn.Hardswish(),
            ]
        self.body = nn.Sequential(*layers)
        self.attend = nn.Linear(width, 1)
        self.out = nn.Linear(width, words)

    def forward(self, sound):
        x = self.bank(sound.unsqueeze(1))
        x = torch.log(x.pow(2) + 1e-3)
        x = (x - x.mean(2, keepdim=True)) / (x.std(2, keepdim=True) + 1e-5)
        x = self.body(x).transpose(1, 2)
        return self.out((x * self.attend(x).softmax(1)).sum(1))


class Conformer(nn.Module):
    """torchaudio-style block: feed forward, attention with relative shift, gated convolution; group norm."""

    def __init__(self, width=48, heads=4):
        super().__init__()
        self.sub = nn.Sequential(nn.Conv2d(1, 8, 3, 2), nn.ReLU(), nn.Conv2d(8, 8, 3, 2), nn.ReLU())
        self.inp = nn.Linear(8 * 9, width)
        self.ff = nn.Sequential(nn.LayerNorm(width), nn.Linear(width, 96), nn.SiLU(), nn.Linear(96, width))
        self.norm = nn.LayerNorm(width)
        self.attention = nn.MultiheadAttention(width, heads, batch_first=True)
        self.norm2 = nn.LayerNorm(width)
        self.point = nn.Conv1d(width, 2 * width, 1)
        self.depth = nn.Conv1d(width, width, 7, padding=3, groups=width)
        self.group = nn.GroupNorm(4, width)
        self.out = nn.Linear(width, 30)

    def forward(self, features, lengths):
        x = self.sub(features.unsqueeze(1))
        n, c, t, f = x.shape
        x = self.inp(x.permute(0, 2, 1, 3).reshape(n, t, c * f))
        valid = ((lengths - 1) // 2 - 1) // 2
        padding = torch.arange(t, device=x.device)[None, :] >= valid[:, None]
        x = x + 0.5 * self.ff(x)
        y = self.norm(x)
        x = x + self.attention(y, y, y, key_padding_mask=padding, need_weights=False)[0]
        y = F.glu(self.point(self.norm2(x).transpose(1, 2)), 1).masked_fill(padding[:, None, :], 0.0)
        x = x + F.silu(self.group(self.depth(y))).transpose(1, 2)
        return self.out(x).log_softmax(-1)


class Seq2seq(nn.Module):
    """nn.Transformer with a causal mask that is made of the target's length."""

    def __init__(self, words=200, width=32):
        super().__init__()
        self.embed = nn.Embedding(words, width)
        self.core = nn.Transformer(width, 4, 2, 2, 64, batch_first=True, norm_first=True)
        self.out = nn.Linear(width, words)

    def forward(self, source, target):
        t = target.shape[1]
        mask = torch.triu(torch.full((t, t), float("-inf"), device=target.device), diagonal=1)
        padding = source == 0
        y = self.core(self.embed(source), self.embed(target), tgt_mask=mask, src_key_padding_mask=padding, memory_key_padding_mask=padding)
        return self.out(y)


class Scatter(nn.Module):
    """What a tabular or graph network does: messages along edges, gathered and added up per node."""

    def __init__(self, width=24):
        super().__init__()
        self.inp, self.edge, self.out = nn.Linear(8, width), nn.Linear(2 * width, width), nn.Linear(width, 3)

    def forward(self, nodes, edges):
        x = torch.relu(self.inp(nodes))
        for _ in range(2):
            message = torch.tanh(self.edge(torch.cat([x[edges[0]], x[edges[1]]], 1)))
            x = x + torch.zeros_like(x).index_add(0, edges[1], message) * 0.3
        return self.out(x)


# --- transformers ---


def hf(config, width, **options):
    """A config class with small numbers; its weights spread by 1 / sqrt(width)."""
    attention = options.pop("attention", "sdpa")
    made = config(**dict(initializer_range=1 / math.sqrt(width), **options))
    made._attn_implementation = attention
    return made


class Encoder(nn.Module):
    def __init__(self, net, *names, output="last_hidden_state"):
        super().__init__()
        self.net, self.names, self.output = net.eval(), names, output

    def run(self, *values):
        out = self.net(**dict(zip(self.names, values)))
        names = self.output.split(",")
        return getattr(out, names[0]) if len(names) == 1 else tuple(getattr(out, n) for n in names)


class Ids(Encoder):
    def forward(self, input_ids):
        return self.run(input_ids)


class IdsMask(Encoder):
    def forward(self, input_ids, attention_mask):
        return self.run(input_ids, attention_mask)


class Bert(Encoder):
    def forward(self, input_ids, attention_mask, token_type_ids):
        return self.run(input_ids, attention_mask, token_type_ids)


class Pixels(Encoder):
    def forward(self, pixel_values):
        return self.run(pixel_values)


class Clip(nn.Module):
    def __init__(self, net):
        super().__init__()
        self.net = net.eval()

    def forward(self, input_ids, attention_mask, pixel_values):
        out = self.net(input_ids=input_ids, attention_mask=attention_mask, pixel_values=pixel_values)
        return out.logits_per_image, out.text_embeds


def grow(cache, past):
    for layer, (key, value) in enumerate(zip(past[::2], past[1::2])):
        cache.update(key, value, layer)
    return cache


class Past(nn.Module):
    """A decoder of two layers with keys and values in and out."""

    def __init__(self, net):
        super().__init__()
        self.net = net.eval()

    def forward(self, input_ids, attention_mask, key0, value0, key1, value1):
        cache = grow(transformers.DynamicCache(), [key0, value0, key1, value1])
        out = self.net(input_ids=input_ids, attention_mask=attention_mask, past_key_values=cache, use_cache=True)
        layers = out.past_key_values.layers
        return out.logits, layers[0].keys, layers[0].values, layers[1].keys, layers[1].values


class Decoder(nn.Module):
    """The decoder of an encoder-decoder, without a past: logits for all positions."""

    def __init__(self, net, head):
        super().__init__()
        self.net, self.head = net.eval(), head

    def forward(self, input_ids, encoder_hidden_states):
        out = self.net(input_ids=input_ids, encoder_hidden_states=encoder_hidden_states, use_cache=False)
        return self.head(out.last_hidden_state)


class DecoderMask(Decoder):
    def forward(self, input_ids, encoder_hidden_states, encoder_attention_mask):
        out = self.net(
            input_ids=input_ids,
            encoder_hidden_states=encoder_hidden_states,
            encoder_attention_mask=encoder_attention_mask,
            use_cache=False,
        )
        return self.head(out.last_hidden_state)


class CrossPast(nn.Module):
    """One step of an encoder-decoder with both caches as inputs, two layers."""

    def __init__(self, net, head):
        super().__init__()
        self.net, self.head = net.eval(), head

    def forward(self, input_ids, encoder_hidden_states, key0, value0, key1, value1):
        own = grow(transformers.DynamicCache(), [key0, value0, key1, value1])
        cache = transformers.EncoderDecoderCache(own, transformers.DynamicCache())
        out = self.net(
            input_ids=input_ids, encoder_hidden_states=encoder_hidden_states, past_key_values=cache, use_cache=True
        )
        layers = out.past_key_values.self_attention_cache.layers
        return self.head(out.last_hidden_state), layers[0].keys, layers[0].values, layers[1].keys, layers[1].values


SMALL = dict(vocab_size=300, hidden_size=64, num_hidden_layers=2, num_attention_heads=4, intermediate_size=128)
CACHES = [Input(n, ("batch", 4, "past", 16)) for n in ("key0", "value0", "key1", "value1")]
GROUPED = [Input(n, ("batch", 2, "past", 16)) for n in ("key0", "value0", "key1", "value1")]
PRESENT = ["logits", "new_key0", "new_value0", "new_key1", "new_value1"]
TEXT = [{"batch": 2, "sequence": 7}, {"batch": 1, "sequence": 16}, {"batch": 3, "sequence": 33}, {"batch": 1, "sequence": 1}]
IDS = Input("input_ids", ("batch", "sequence"), "ids", 300)
MASK = Input("attention_mask", ("batch", "sequence"), "mask")
LEFT = Input("attention_mask", ("batch", "total"), "left_mask")
WITH_PAST = [
    {"batch": 2, "past": 5, "sequence": 3, "total": 8},
    {"batch": 1, "past": 9, "sequence": 1, "total": 10},
    {"batch": 1, "past": 0, "sequence": 6, "total": 6},
    {"batch": 3, "past": 17, "sequence": 4, "total": 21},
]


def hf_text(name, wrap, *names, **options):
    def build():
        config = hf(getattr(transformers, name + "Config"), 64, **{**SMALL, **options})
        return wrap(getattr(transformers, name + "Model")(config), *names)

    return build


def hf_decoder(name, wrap=Past, width=64, **options):
    def build():
        config = hf(getattr(transformers, name + "Config"), width, **options)
        cls = {"GPT2": "GPT2LMHeadModel"}.get(name, name + "ForCausalLM")
        net = getattr(transformers, cls)(config)
        return wrap(net, "input_ids", output="logits") if wrap is Ids else wrap(net)

    return build


GPT2 = dict(vocab_size=300, n_positions=64, n_embd=64, n_layer=2, n_head=4)
LLAMA = dict(SMALL, num_key_value_heads=2, max_position_embeddings=128)


def t5_config():
    return transformers.T5Config(
        vocab_size=300, d_model=64, d_kv=16, d_ff=128, num_layers=2, num_heads=4, feed_forward_proj="gated-gelu", initializer_factor=1.0
    )


def t5_encoder():
    return IdsMask(transformers.T5EncoderModel(t5_config()), "input_ids", "attention_mask")


def t5_decoder():
    net = transformers.T5ForConditionalGeneration(t5_config())
    return DecoderMask(net.decoder, net.lm_head)


def t5_step():
    net = transformers.T5ForConditionalGeneration(t5_config())
    return CrossPast(net.decoder, net.lm_head)


def whisper():
    return transformers.WhisperForConditionalGeneration(
        hf(
            transformers.WhisperConfig, 64, vocab_size=300, d_model=64, encoder_layers=2, decoder_layers=2,
            encoder_attention_heads=4, decoder_attention_heads=4, encoder_ffn_dim=128, decoder_ffn_dim=128,
            num_mel_bins=20, max_source_positions=50, max_target_positions=64, pad_token_id=0, bos_token_id=1,
            eos_token_id=2, decoder_start_token_id=1, init_std=0.125,
        )
    )  # fmt: skip


def whisper_encoder():
    return Encoder1(whisper().model.encoder)


class Encoder1(nn.Module):
    def __init__(self, net):
        super().__init__()
        self.net = net.eval()

    def forward(self, input_features):
        return self.net(input_features).last_hidden_state


def whisper_decoder():
    net = whisper()
    return Decoder(net.model.decoder, net.proj_out)


def bart():
    net = transformers.BartForConditionalGeneration(
        transformers.BartConfig(
            vocab_size=300, d_model=64, encoder_layers=2, decoder_layers=2, encoder_attention_heads=4,
            decoder_attention_heads=4, encoder_ffn_dim=128, decoder_ffn_dim=128, max_position_embeddings=64, init_std=0.125,
        )
    )  # fmt: skip
    return Bart(net)


class Bart(nn.Module):
    def __init__(self, net):
        super().__init__()
        self.net = net.eval()

    def forward(self, input_ids, attention_mask, decoder_input_ids):
        return self.net(
            input_ids=input_ids, attention_mask=attention_mask, decoder_input_ids=decoder_input_ids, use_cache=False
        ).logits


def clip():
    text = dict(SMALL, max_position_embeddings=40, eos_token_id=299, initializer_factor=1.0)
    picture = dict(hidden_size=64, num_hidden_layers=2, num_attention_heads=4, intermediate_size=128, image_size=32, patch_size=8)
    text.pop("initializer_range", None)
    return Clip(transformers.CLIPModel(transformers.CLIPConfig(text_config=text, vision_config=picture, projection_dim=32)))


def hf_vit():
    config = hf(
        transformers.ViTConfig, 64, hidden_size=64, num_hidden_layers=2, num_attention_heads=4, intermediate_size=128,
        image_size=32, patch_size=8,
    )  # fmt: skip
    return Pixels(transformers.ViTModel(config), "pixel_values", output="last_hidden_state,pooler_output")


def hf_swin():
    config = hf(
        transformers.SwinConfig, 48, image_size=64, patch_size=4, embed_dim=24, depths=[2, 2], num_heads=[2, 4], window_size=4
    )
    return Pixels(transformers.SwinModel(config), "pixel_values")


def segformer():
    config = hf(
        transformers.SegformerConfig, 32, depths=[1, 1, 1, 1], hidden_sizes=[16, 32, 40, 64], num_attention_heads=[1, 2, 4, 4],
        decoder_hidden_size=32, num_labels=5,
    )  # fmt: skip
    return Pixels(settle(transformers.SegformerForSemanticSegmentation(config).eval(), 1, 3, 64, 64), "pixel_values", output="logits")


def detr():
    config = transformers.DetrConfig(
        use_timm_backbone=False, use_pretrained_backbone=False, d_model=64, encoder_layers=1, decoder_layers=1,
        encoder_attention_heads=4, decoder_attention_heads=4, encoder_ffn_dim=128, decoder_ffn_dim=128, num_queries=12,
        backbone_config=transformers.ResNetConfig(embedding_size=16, hidden_sizes=[16, 32], depths=[1, 1], out_features=["stage2"]),
    )  # fmt: skip
    return Pixels(transformers.DetrForObjectDetection(config), "pixel_values", output="logits,pred_boxes")


def wav2vec2():
    config = hf(
        transformers.Wav2Vec2Config, 64, vocab_size=32, hidden_size=64, num_hidden_layers=2, num_attention_heads=4, intermediate_size=128,
        conv_dim=[32, 32, 32], conv_stride=[5, 4, 2], conv_kernel=[10, 8, 4], num_feat_extract_layers=3,
        num_conv_pos_embeddings=16, num_conv_pos_embedding_groups=4,
    )  # fmt: skip
    return Sound(transformers.Wav2Vec2ForCTC(config))


class Sound(nn.Module):
    def __init__(self, net):
        super().__init__()
        self.net = net.eval()

    def forward(self, sound):
        return self.net(sound).logits


def image(batch="batch", height="height", width="width"):
    return [Input("image", (batch, 3, height, width), "image")]


def pixels(size):
    return [Input("pixel_values", ("batch", 3, size, size), "image")]


BATCHES = [{"batch": 2}, {"batch": 1}, {"batch": 5}]
PICTURES = [
    {"batch": 2, "height": 96, "width": 64},
    {"batch": 1, "height": 64, "width": 64},
    {"batch": 1, "height": 75, "width": 130},
]
EVEN = [
    {"batch": 2, "height": 96, "width": 64},
    {"batch": 1, "height": 64, "width": 64},
    {"batch": 1, "height": 128, "width": 192},
]
ONE = [{"height": 96, "width": 64}, {"height": 64, "width": 64}, {"height": 128, "width": 192}]
SOUNDS = [{"batch": 2, "samples": 1600}, {"batch": 1, "samples": 4000}, {"batch": 3, "samples": 997}]
CLASS = ["classes"]
SCRIPT = ("script",)
partial = functools.partial

MODELS = [
    Model("resnet", tv_resnet, image(), CLASS, PICTURES),
    Model("mobilenet_v2", tv_basic("mobilenet_v2", width_mult=0.35), image(), CLASS, PICTURES),
    Model("mobilenet_v3", tv_basic("mobilenet_v3_small", width_mult=0.5), image(), CLASS, PICTURES),
    Model("efficientnet", tv_efficientnet, image(), CLASS, PICTURES),
    Model("efficientnet_v2", tv_efficientnet_v2, image(), CLASS, PICTURES),
    Model("shufflenet", tv_basic("shufflenet_v2_x0_5"), image(), CLASS, PICTURES),
    Model("squeezenet", tv_basic("squeezenet1_1"), image(), CLASS, PICTURES),
    Model("densenet", lambda: settle(torchvision.models.DenseNet(8, (2, 3, 2), 16, num_classes=CLASSES), 2, 3, 64, 64), image(), CLASS, PICTURES),
    Model("regnet", tv_basic("regnet_y_400mf"), image(), CLASS, PICTURES),
    Model("mnasnet", tv_basic("mnasnet0_5"), image(), CLASS, PICTURES),
    Model("googlenet", tv_basic("googlenet", aux_logits=False, init_weights=False), image(), CLASS, PICTURES),
    Model("convnext", tv_convnext, image(), CLASS, PICTURES),
    Model("vit", tv_vit, image(height=64, width=64), CLASS, BATCHES),
    Model("swin", tv_swin(1), image(height=64, width=64), CLASS, BATCHES),
    Model("swin_v2", tv_swin(2), image(height=64, width=64), CLASS, BATCHES),
    Model("lraspp", lambda: settle(Lraspp().eval(), 2, 3, 64, 64), image(), ["mask"], PICTURES),
    Model("deeplab", lambda: settle(Deeplab().eval(), 2, 3, 64, 64), image(), ["mask"], PICTURES),
    Model("unet", lambda: settle(Unet(), 2, 3, 64, 64), image(), ["mask"], PICTURES),
    Model("yolo", lambda: settle(Yolo(), 2, 3, 64, 64), image(1), ["boxes", "scores", "labels"], ONE),
    Model("yolo_raw", lambda: settle(YoloRaw(), 2, 3, 64, 64), image(), ["found"], EVEN),
    Model("fcos", lambda: settle(Fcos().eval(), 2, 3, 64, 64), image(), ["logits", "boxes", "centre"], EVEN),
    Model("ssdlite", lambda: settle(Ssdlite().train(), 2, 3, 320, 320), image(1), ["boxes", "scores", "labels"], [{"height": 320, "width": 320}, {"height": 240, "width": 300}], SCRIPT),
    Model("lstm_tagger", lambda: Tagger().eval(), [Input("ids", ("batch", "sequence"), "ids", 500)], ["tags"], TEXT),
    Model("gru_tagger", lambda: Tagger(nn.GRU).eval(), [Input("ids", ("batch", "sequence"), "ids", 500)], ["tags"], TEXT),
    Model("keyword", lambda: settle(Keyword(), 2, 1600), [Input("sound", ("batch", "samples"))], ["words"], SOUNDS),
    Model("conformer", lambda: Conformer().eval(), [Input("features", ("batch", "frames", 40)), Input("lengths", ("batch",), "ids", 20)], ["letters"], [{"batch": 2, "frames": 64}, {"batch": 1, "frames": 33}, {"batch": 3, "frames": 90}]),
    Model("seq2seq", lambda: Seq2seq().eval(), [Input("source", ("batch", "length"), "ids", 200), Input("target", ("batch", "sequence"), "ids", 200)], ["logits"], [dict(s, length=l) for s, l in zip(TEXT, (9, 5, 20, 2))]),
    Model("graph", lambda: Scatter().eval(), [Input("nodes", ("nodes", 8)), Input("edges", (2, "edges"), "ids", 5)], ["out"], [{"nodes": 6, "edges": 9}, {"nodes": 5, "edges": 1}, {"nodes": 30, "edges": 77}]),
    Model("bert", hf_text("Bert", Bert, "input_ids", "attention_mask", "token_type_ids"), [IDS, MASK, Input("token_type_ids", ("batch", "sequence"), "ids", 2)], ["hidden"], TEXT),
    Model("distilbert", hf_text("DistilBert", IdsMask, "input_ids", "attention_mask", dim=64, n_layers=2, n_heads=4, hidden_dim=128), [IDS, MASK], ["hidden"], TEXT),
    Model("roberta", hf_text("Roberta", IdsMask, "input_ids", "attention_mask", max_position_embeddings=64), [IDS, MASK], ["hidden"], TEXT),
    Model("albert", hf_text("Albert", IdsMask, "input_ids", "attention_mask", embedding_size=32), [IDS, MASK], ["hidden"], TEXT),
    Model("electra", hf_text("Electra", IdsMask, "input_ids", "attention_mask", embedding_size=32), [IDS, MASK], ["hidden"], TEXT),
    Model("mpnet", hf_text("MPNet", IdsMask, "input_ids", "attention_mask", attention="eager"), [IDS, MASK], ["hidden"], TEXT),
    Model("deberta_v2", hf_text("DebertaV2", IdsMask, "input_ids", "attention_mask", relative_attention=True, pos_att_type=["c2p", "p2c"], max_relative_positions=16, attention="eager"), [IDS, MASK], ["hidden"], TEXT),
    Model("modernbert", hf_text("ModernBert", IdsMask, "input_ids", "attention_mask", pad_token_id=0, bos_token_id=1, eos_token_id=2, cls_token_id=1, sep_token_id=2, local_attention=8), [IDS, MASK], ["hidden"], TEXT),
    Model("gpt2", hf_decoder("GPT2", Ids, **GPT2), [IDS], ["logits"], TEXT),
    Model("gpt2_past", hf_decoder("GPT2", **GPT2), [IDS, LEFT] + CACHES, PRESENT, WITH_PAST),
    Model("llama", hf_decoder("Llama", Ids, **LLAMA, attention="eager"), [IDS], ["logits"], TEXT),
    Model("llama_past", hf_decoder("Llama", **LLAMA), [IDS, LEFT] + GROUPED, PRESENT, WITH_PAST),
    Model("mistral_past", hf_decoder("Mistral", **LLAMA, sliding_window=None), [IDS, LEFT] + GROUPED, PRESENT, WITH_PAST),
    Model("qwen2_past", hf_decoder("Qwen2", **LLAMA), [IDS, LEFT] + GROUPED, PRESENT, WITH_PAST),
    Model("qwen3_past", hf_decoder("Qwen3", **LLAMA, head_dim=16), [IDS, LEFT] + GROUPED, PRESENT, WITH_PAST),
    Model("gemma_past", hf_decoder("Gemma", **LLAMA, head_dim=16), [IDS, LEFT] + GROUPED, PRESENT, WITH_PAST),
    Model("phi_past", hf_decoder("Phi", **dict(LLAMA, num_key_value_heads=4)), [IDS, LEFT] + CACHES, PRESENT, WITH_PAST),
    Model("gpt_neox_past", hf_decoder("GPTNeoX", **SMALL), [IDS, LEFT] + CACHES, PRESENT, WITH_PAST),
    Model("opt_past", hf_decoder("OPT", vocab_size=300, hidden_size=64, num_hidden_layers=2, num_attention_heads=4, ffn_dim=128, word_embed_proj_dim=64, max_position_embeddings=64), [IDS, LEFT] + CACHES, PRESENT, WITH_PAST),
    Model("bloom_past", hf_decoder("Bloom", vocab_size=300, hidden_size=64, n_layer=2, n_head=4, attention="eager"), [IDS, LEFT] + CACHES, PRESENT, WITH_PAST),
    Model("t5_encoder", t5_encoder, [IDS, MASK], ["hidden"], TEXT),
    Model("t5_decoder", t5_decoder, [IDS, Input("encoder_hidden_states", ("batch", "length", 64)), Input("encoder_attention_mask", ("batch", "length"), "mask")], ["logits"], [dict(s, length=l) for s, l in zip(TEXT, (9, 5, 20, 2))]),
    Model("t5_step", t5_step, [IDS, Input("encoder_hidden_states", ("batch", "length", 64))] + CACHES, PRESENT, [dict(s, length=l) for s, l in zip(WITH_PAST, (9, 5, 20, 2))]),
    Model("bart", bart, [IDS, MASK, Input("decoder_input_ids", ("batch", "target"), "ids", 300)], ["logits"], [dict(s, target=l) for s, l in zip(TEXT, (9, 5, 20, 2))]),
    Model("whisper_encoder", whisper_encoder, [Input("input_features", ("batch", 20, 100))], ["hidden"], BATCHES),
    Model("whisper_decoder", whisper_decoder, [IDS, Input("encoder_hidden_states", ("batch", "length", 64))], ["logits"], [dict(s, length=l) for s, l in zip(TEXT, (50, 5, 20, 2))]),
    Model("clip", clip, [Input("input_ids", ("texts", "sequence"), "ids", 300), Input("attention_mask", ("texts", "sequence"), "mask"), Input("pixel_values", ("batch", 3, 32, 32), "image")], ["logits", "texts"], [{"texts": 2, "batch": 3, "sequence": 7}, {"texts": 1, "batch": 1, "sequence": 12}, {"texts": 4, "batch": 2, "sequence": 40}]),
    Model("vit_hf", hf_vit, pixels(32), ["hidden", "pooled"], BATCHES),
    Model("swin_hf", hf_swin, pixels(64), ["hidden"], BATCHES),
    Model("segformer", segformer, [Input("pixel_values", ("batch", 3, "height", "width"), "image")], ["logits"], EVEN),
    Model("detr", detr, [Input("pixel_values", ("batch", 3, "height", "width"), "image")], ["logits", "boxes"], EVEN),
    Model("wav2vec2", wav2vec2, [Input("sound", ("batch", "samples"))], ["logits"], SOUNDS),
]  # fmt: skip
