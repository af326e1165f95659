"""A torch network as a predictor, and the fastest predictor for a network."""

from __future__ import annotations

import torch

from charlm.networks.bidirectional import BidirectionalLM
from charlm.networks.building import Network
from charlm.networks.inputs import as_tensor
from charlm.networks.language_model import CharLM
from charlm.networks.leaky import LeakyLM
from charlm.networks.native import NativeStack, fits_kernels
from charlm.networks.native_predictor import NativePredictor
from charlm.networks.predictor import Floats, IdArray, Predictor
from charlm.networks.recurrent import State


class TorchPredictor:
    """Predict with a causal or a leaky network, on its own device.

    Args:
        network: the network, which is put into evaluation mode.
    """

    is_batch_invariant = False

    def __init__(self, network: CharLM | LeakyLM) -> None:
        self.network = network.eval()

    def initial_state(self, num_texts: int) -> State:
        """Return the state before any character, on the network's device."""
        with torch.inference_mode():
            return self.network.initial_state(num_texts)

    def read(self, ids: IdArray, state: State) -> tuple[Floats, State]:
        """Return the logits after the last character; see `Predictor`."""
        with torch.inference_mode():
            hidden, state = self.network.read(as_tensor(ids, self.network), state)  # (T, B, H)
            return self.network.decoder(hidden[-1]).cpu().numpy(), state

    def predict(self, ids: IdArray, state: State) -> tuple[Floats, State]:
        """Return the logits after each character; see `Predictor`."""
        with torch.inference_mode():
            logits, state = self.network(as_tensor(ids, self.network), state)
            return logits.cpu().numpy(), state


def writing_half(network: Network) -> CharLM | LeakyLM:
    """Return the network that continues a prefix: a bidirectional model's forward half, or else the network itself."""
    return network.forward_half if isinstance(network, BidirectionalLM) else network


def predictor_of(network: Network, num_characters: int) -> Predictor:
    """Return the fastest predictor for a network as it is now, or for its forward half: the kernels where they can run.

    Args:
        network: the network; its weights must not change while the predictor is used.
        num_characters: how many ids of the vocabulary are characters, counted from the first.
    """
    network = writing_half(network)
    is_native = isinstance(network, CharLM) and isinstance(network.recurrent, NativeStack)
    if not is_native or not fits_kernels(network.decoder.weight):
        return TorchPredictor(network)
    weights = {name: weight.detach().numpy() for name, weight in network.state_dict().items()}
    return NativePredictor(network.model, weights, num_characters)
