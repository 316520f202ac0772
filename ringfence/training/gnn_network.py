# SPDX-License-Identifier: Apache-2.0
# mypy: allow-subclassing-any
"""The network itself, in PyTorch: inductive, over time, one set of parameters a role. Imported only to train.

    message  m_k = relu(x_k A_r),    x_k the k-th sampled event of a seat of role r
    gated    u = [mean_k m_k * sigmoid(x_k B_r),  max_k the same]                         (Li et al., 2016, gates)
    attention u = [sum_k softmax_k(x_k B_r . y C_r / sqrt(d)) m_k,  max_k m_k]            (Vaswani et al., 2017)
    recurrent u = [g_1, mean_k g_k],  g_k = GRU(x_k, g_k+1): k = 1 is the newest event      (Cho et al., 2014)
    seat     h_s = relu([u, y] D_r),  y the seat's own counts; seats of one role are summed
    row      e = relu(z E),  z the row's numbers and the vectors of its categories
    log-odds v . relu([h, e] F) + w . z + b

No bias stands where an event or a seat may be missing: the constant 1 among the inputs of those that are there takes
its part, so that what is missing adds exactly 0 and no mask is needed; a recurrent unit that has seen nothing stays at
0 too. Role, degree and time come as inputs; nothing
knows an entity by name. M members lie side by side in every array.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import nn

from ringfence.models.gnn_inputs import GnnInputs
from ringfence.training.gnn_options import GnnOptions

Tensor = Any


class GnnNetwork(nn.Module):
    """M networks side by side.

    Parameters
    ----------
    prior_log_odds : what the output starts at.
    """

    def __init__(self, inputs: GnnInputs, options: GnnOptions, *, prior_log_odds: float) -> None:
        super().__init__()
        self.inputs, self.options = inputs, options
        m, h, p = options.members, options.width, inputs.n_roles
        n_codes, width = inputs.n_codes, options.vector_width
        self.row_inputs = inputs.number_width + len(inputs.categories) * width
        self.seat_inputs = (2 * h if inputs.hops else 0) + inputs.node_width
        if inputs.hops and options.gather == "recurrent":
            self.step_in = _weight(m, p, inputs.event_width, 3 * h)  # update, reset, candidate
            self.step_on = _weight(m, p, h, 3 * h)
        elif inputs.hops:
            self.message = _weight(m, p, inputs.event_width, h)
            self.gate = _weight(m, p, inputs.event_width, h)
            if options.gather == "attention":
                self.query = _weight(m, p, inputs.node_width, h)
        self.seat = _weight(m, p, self.seat_inputs, h)
        self.vectors = nn.Parameter(torch.randn(n_codes, width) * 0.1)
        row_width = options.row_width if self.row_inputs else 0
        self.row = _weight(m, self.row_inputs, row_width)
        self.row_bias = nn.Parameter(torch.zeros(m, row_width))
        self.skip = nn.Parameter(torch.zeros(m, self.row_inputs))
        self.head = _weight(m, p * h + row_width, options.head_width)
        self.head_bias = nn.Parameter(torch.zeros(m, options.head_width))
        self.out = nn.Parameter(torch.randn(m, options.head_width) * 0.1 / options.head_width**0.5)
        self.out_bias = nn.Parameter(torch.full((m,), float(prior_log_odds)))
        self.dropout = nn.Dropout(options.dropout)
        self.input_dropout = nn.Dropout(options.input_dropout)
        pooled = torch.zeros(len(inputs.seats), p)
        for seat, role in enumerate(inputs.seat_role):
            pooled[seat, role] = 1.0
        self.register_buffer("pooled", pooled, persistent=False)

    def forward(self, events: Tensor, per: Tensor, nodes: Tensor, numbers: Tensor, codes: Tensor) -> Tensor:
        """Return log-odds of every member, shape (n, M); arguments are the fields of `Prepared`."""
        n, roles = nodes.shape[0], list(self.inputs.seat_role)
        nodes = nodes[:, :, 0].transpose(0, 1)  # (S, n, D)
        parts = [nodes[:, :, None].expand(-1, -1, self.options.members, -1)]  # (S, n, M, D)
        if self.inputs.hops:
            gathered = self._recurrent if self.options.gather == "recurrent" else self._gathered
            parts = [*gathered(events, per, nodes, roles), *parts]
        seats = torch.relu(torch.einsum("snmx,msxh->snmh", torch.cat(parts, dim=3), self.seat[:, roles]))
        found = [torch.einsum("snmh,sp->nmph", seats, self.pooled).reshape(n, self.options.members, -1)]
        row = torch.cat([self.input_dropout(numbers), self.vectors[codes].reshape(n, -1)], dim=1)
        if self.row_inputs:
            found.append(torch.relu(torch.einsum("nr,mrh->nmh", row, self.row) + self.row_bias))
        hidden = self.dropout(torch.cat(found, dim=2))
        hidden = self.dropout(torch.relu(torch.einsum("nmx,mxz->nmz", hidden, self.head) + self.head_bias))
        return (hidden * self.out).sum(dim=2) + torch.einsum("nr,mr->nm", row, self.skip) + self.out_bias

    def _gathered(self, events: Tensor, per: Tensor, nodes: Tensor, roles: list[int]) -> list[Tensor]:
        """Return [mean or attended, largest] messages of each seat, each of shape (S, n, M, H)."""
        (n, n_seats, last, width), m, h = events.shape, self.options.members, self.options.width
        both = torch.stack([self.message, self.gate])[:, :, roles]  # (2, M, S, E, H)
        flat = events.transpose(0, 1).reshape(n_seats, n * last, width)
        made = torch.bmm(flat, both.permute(2, 3, 0, 1, 4).reshape(n_seats, width, 2 * m * h))
        made = made.reshape(n_seats, n, last, 2, m, h)
        message, gate = torch.relu(made[:, :, :, 0]), made[:, :, :, 1]
        per = per[:, :, 0].transpose(0, 1)[:, :, None]  # (S, n, 1, 1)
        if self.options.gather == "gated":
            message = message * torch.sigmoid(gate)
            return [message.sum(dim=2) * per, message.amax(dim=2)]
        there = events[..., 0].transpose(0, 1)[..., None, None]  # (S, n, K, 1, 1)
        query = torch.einsum("snd,msdh->snmh", nodes, self.query[:, roles])[:, :, None]
        heads = self.options.heads
        likeness = (gate * query).reshape(n_seats, n, last, m, heads, h // heads).sum(dim=5) / (h // heads) ** 0.5
        share = torch.softmax(likeness + (there - 1.0) * 1e4, dim=2).repeat_interleave(h // heads, dim=4)
        return [(message * share).sum(dim=2), message.amax(dim=2)]

    def _recurrent(self, events: Tensor, per: Tensor, nodes: Tensor, roles: list[int]) -> list[Tensor]:
        """Return [state after the newest event, mean state] of each seat, each of shape (S, n, M, H)."""
        (n, n_seats, last, width), m, h = events.shape, self.options.members, self.options.width
        flat = events.transpose(0, 1).reshape(n_seats, n * last, width)
        read = torch.bmm(flat, self.step_in[:, roles].permute(1, 2, 0, 3).reshape(n_seats, width, 3 * m * h))
        read = read.reshape(n_seats, n, last, m, 3 * h)
        step_on = self.step_on[:, roles].transpose(0, 1)  # (S, M, H, 3 H)
        state = torch.zeros(n_seats, n, m, h, dtype=events.dtype, device=events.device)
        total = state
        for back in range(last - 1, -1, -1):
            kept = torch.einsum("snmh,smhg->snmg", state, step_on)
            update, reset = torch.sigmoid(read[:, :, back, :, : 2 * h] + kept[..., : 2 * h]).chunk(2, dim=3)
            candidate = torch.tanh(read[:, :, back, :, 2 * h :] + reset * kept[..., 2 * h :])
            state = candidate + update * (state - candidate)
            total = total + state
        return [state, total * per[:, :, 0].transpose(0, 1)[:, :, None]]


def _weight(*shape: int) -> Any:
    # Uniform by inputs (He et al., 2015): the last axis but one is what is read.
    bound = (3.0 / max(shape[-2], 1)) ** 0.5
    return nn.Parameter((torch.rand(*shape) * 2.0 - 1.0) * bound)
