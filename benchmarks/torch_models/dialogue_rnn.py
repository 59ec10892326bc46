"""DialogueRNN in PyTorch, with the weights of this library's model and its identities.

N. Majumder et al., AAAI 2019; written here from the equations. What reads a turn alone
is one product before the loop, and a speaker's state is multiplied once for both cells
that read it.
"""

import torch
from torch.nn import functional as F


def gru(x, recurrent, inside, h):
  """Gates r, z, n from their products with the input and with the state."""
  xr, xz, xn = x.chunk(3, -1)
  hr, hz, hn = recurrent.chunk(3, -1)
  r, z = torch.sigmoid(xr + hr), torch.sigmoid(xz + hz)
  n = torch.tanh(xn + r * (hn + inside))
  return n + z * (h - n)


def direction(p, u, real, who):
  """e of every turn (T, B, E); `who` is one of P speakers as (T, B, P) bool."""
  g_cell, q_cell, e_cell = (p[name] for name in ("global", "party", "emotion"))
  size = u.shape[-1]
  kernel = torch.cat([g_cell["kernel"][:size], q_cell["kernel"][:size], p["recall"]], 1)
  widths = [g_cell["bias"].numel(), q_cell["bias"].numel(), p["recall"].shape[1]]
  to_g, to_q, queries = (u @ kernel).split(widths, -1)
  to_g, to_q = to_g + g_cell["bias"], to_q + q_cell["bias"]
  own_kernel = torch.cat([g_cell["kernel"][size:], q_cell["recurrent"]], 1)
  batch, people = who.shape[1:]
  zeros = lambda cell: u.new_zeros(batch, cell["recurrent"].shape[0])
  g, e = zeros(g_cell), zeros(e_cell)
  parties = u.new_zeros(batch, people, q_cell["recurrent"].shape[0])
  context, past, says = u.new_zeros(g.shape), [], []
  for t, here in enumerate(real):
    here, now = here[:, None], who[t][..., None]
    own = (parties * now).sum(1)
    from_own = own @ own_kernel
    inputs = to_g[t] + from_own[:, : widths[0]]
    new = gru(inputs, g @ g_cell["recurrent"], g_cell["candidate_bias"], g)
    g = torch.where(here, new, g)
    if past:
      seen = torch.stack(past, 1)
      scores = (seen @ queries[t][..., None])[..., 0]
      scores = scores.masked_fill(~real[:t].T, float("-inf"))
      # Of a direction that begins in padding, nothing is seen at first.
      shares = scores.softmax(-1).nan_to_num(0.0)
      context = (shares[:, None] @ seen)[:, 0]
    past.append(g)
    inputs = to_q[t] + context @ q_cell["kernel"][size:]
    q = gru(inputs, from_own[:, widths[0] :], q_cell["candidate_bias"], own)
    parties = torch.where(now & here[..., None], q[:, None], parties)
    inputs = q @ e_cell["kernel"] + e_cell["bias"]
    new = gru(inputs, e @ e_cell["recurrent"], e_cell["candidate_bias"], e)
    e = torch.where(here, new, e)
    says.append(e)
  return torch.stack(says)


def dialogue_rnn(params, batch, modalities):
  """Logits (B, T, C)."""
  u = torch.cat([batch[m] for m in modalities], -1).transpose(0, 1)
  real, speaker = batch["turn"].T, batch["speaker"].T
  who = speaker[..., None] == torch.arange(int(speaker.max()) + 1)
  forward = direction(params["forward"], u, real, who)
  flip = lambda x: x.flip(0)
  backward = direction(params["backward"], flip(u), flip(real), flip(who))
  e = torch.cat([forward, flip(backward)], -1).transpose(0, 1)
  dense = lambda name, x: F.linear(x, params[name]["kernel"].T, params[name]["bias"])
  scores = dense("match", e) @ e.transpose(1, 2)
  scores = scores.masked_fill(~batch["turn"][:, None], float("-inf"))
  read = scores.softmax(-1) @ e
  return dense("output", F.relu(dense("hidden", read)))
