"""The papers' printed tables, typed by hand: columns from left to right, and every figure."""

from __future__ import annotations

EMOTIONS = ["happy", "anger", "sad", "natural"]
# Table -> protocol -> columns from left to right, as printed.
COLUMNS: dict[str, dict[str, list[str]]] = {
    "mmrbn-table1": {"iemocap4": ["WA", "UA"]},
    "mmrbn-table2": {"iemocap4": ["WA", "UA"]},
    "smcn-table1": {"iemocap4": ["UA", "WA"]},
    "smcn-table2": {"meld7": ["Acc", "W-F1"]},
    "smcn-table3": {"iemocap4": ["UA", "WA"], "meld7": ["Acc", "W-F1"]},
    "mcfn-table1": {"iemocap4": ["WA", "UA"]},
    "mcfn-table2": {"meld7": ["Acc", "WF1"]},
    "mcfn-table3": {"iemocap4": ["WA", "UA"], "meld7": ["Acc", "WF1"]},
    "mcfn-figure2": {"iemocap4": ["WA", "UA"]},
    "mcfn-figure3": {"iemocap4": ["WA", "UA"]},
    "msmser-table1": {"iemocap4": ["UA", "WA"]},
    "msmser-table2": {"iemocap4": ["UA", "WA"]},
    "msmser-table3": {"iemocap4": ["UA", "WA"]},
    "msmser-figure2": {"iemocap4": ["UA", "WA"]},
    "slides-table1": {
        **{p: ["accuracy", "UA"] for p in ("iemocap4", "savee7", "savee7-sentences")},
        "mean": ["Mean"],
    },
    "slides-table2": {p: [*EMOTIONS, "Mean"] for p in ("iemocap4", "savee4", "savee4-sentences")},
    "slides-table3": {
        p: [*EMOTIONS] for p in ("joint4", "ravdess4", "goemotions4", "joint4-ravdess", "joint4-goemotions")
    },
}

# table | row | protocol | figures in the order of COLUMNS, "-" where the paper prints none.
PRINTED = """
mmrbn-table1   | AM_6                              | iemocap4 | 0.678 0.702
mmrbn-table1   | TM_6                              | iemocap4 | 0.684 0.709
mmrbn-table1   | MMRBN_2 (w/o Rule 1)              | iemocap4 | 0.735 0.755
mmrbn-table1   | MMRBN_4 (w/o Rule 1)              | iemocap4 | 0.739 0.759
mmrbn-table1   | MMRBN_conca (w/o Rule 2)          | iemocap4 | 0.738 0.746
mmrbn-table1   | MMRBN_add (w/o Rule 2)            | iemocap4 | 0.733 0.749
mmrbn-table1   | MMRBN                             | iemocap4 | 0.760 0.766
mmrbn-table2   | [17] (2022, A)                    | iemocap4 | 0.698 0.711
mmrbn-table2   | [18] (2021, A-T)                  | iemocap4 | 0.717 0.75
mmrbn-table2   | [19] (2022, A-T)                  | iemocap4 | 0.743 0.754
mmrbn-table2   | [20] (2023, A-T)                  | iemocap4 | 0.741 0.754
mmrbn-table2   | [21] (2023, A-T)                  | iemocap4 | 0.752 0.764
mmrbn-table2   | MMRBN                             | iemocap4 | 0.760 0.766
smcn-table1    | FAF [5]                           | iemocap4 | 72.7 72.7
smcn-table1    | A-LSTM [9]                        | iemocap4 | 70.9 72.5
smcn-table1    | GBAN [13]                         | iemocap4 | 70.1 72.4
smcn-table1    | CMA + Raw waveform [14]           | iemocap4 | 72.8 -
smcn-table1    | CME [15]                          | iemocap4 | 73.5 72.7
smcn-table1    | SMCN                              | iemocap4 | 77.6 75.6
smcn-table2    | DialogueRNN [11, 17]              | meld7    | -    60.3
smcn-table2    | MMFA-RNN [18]                     | meld7    | 63.3 60.6
smcn-table2    | GNN+self-attention [19]           | meld7    | 61.8 -
smcn-table2    | Semi-supervised MMER [20]         | meld7    | -    57.1
smcn-table2    | CTNet [21]                        | meld7    | 60.8 62.0
smcn-table2    | SMCN                              | meld7    | 64.9 62.3
smcn-table3    | Audio                             | iemocap4 | 62.7 59.9
smcn-table3    | Text                              | iemocap4 | 68.6 67.6
smcn-table3    | Cat                               | iemocap4 | 75.4 73.2
smcn-table3    | Intra-modal learning              | iemocap4 | 76.2 73.9
smcn-table3    | Inter-modal calibration           | iemocap4 | 76.7 75.1
smcn-table3    | First interaction                 | iemocap4 | 76.6 74.6
smcn-table3    | Second interaction                | iemocap4 | 76.9 75.2
smcn-table3    | SMCN                              | iemocap4 | 77.6 75.6
smcn-table3    | Audio                             | meld7    | 48.9 35.8
smcn-table3    | Text                              | meld7    | 62.5 60.9
smcn-table3    | Cat                               | meld7    | 63.6 60.4
smcn-table3    | Intra-modal learning              | meld7    | 63.7 60.3
smcn-table3    | Inter-modal calibration           | meld7    | 64.2 61.1
smcn-table3    | First interaction                 | meld7    | 64.4 61.3
smcn-table3    | Second interaction                | meld7    | 64.0 60.5
smcn-table3    | SMCN                              | meld7    | 64.9 62.3
mcfn-table1    | FAF (2018) [16]                   | iemocap4 | 72.7 72.7
mcfn-table1    | TSIN (2021) [10]                  | iemocap4 | 74.9 76.6
mcfn-table1    | TDNN (2021) [3]                   | iemocap4 | 75.5 76.6
mcfn-table1    | KS-TRM (2022) [17]                | iemocap4 | 74.3 75.3
mcfn-table1    | Proposed                          | iemocap4 | 76.0 77.8
mcfn-table2    | DialogueRNN (2019) [18]           | meld7    | -    60.3
mcfn-table2    | SSM(2020) [19]                    | meld7    | -    57.1
mcfn-table2    | CTNet (2021) [20]                 | meld7    | 60.8 62.0
mcfn-table2    | Proposed                          | meld7    | 64.5 62.2
mcfn-table3    | Speech only                       | iemocap4 | 62.1 60.3
mcfn-table3    | Text only                         | iemocap4 | 68.1 69.1
mcfn-table3    | Bimodal                           | iemocap4 | 74.5 75.8
mcfn-table3    | w/o DAB                           | iemocap4 | 75.1 75.8
mcfn-table3    | w/o CMI                           | iemocap4 | 74.8 75.7
mcfn-table3    | w/o Intra-modal^s                 | iemocap4 | 74.5 74.9
mcfn-table3    | w/o Intra-modal^t                 | iemocap4 | 73.2 74.1
mcfn-table3    | w/o MA                            | iemocap4 | 75.5 76.4
mcfn-table3    | Proposed                          | iemocap4 | 76.0 77.8
mcfn-table3    | Speech only                       | meld7    | 48.1 36.7
mcfn-table3    | Text only                         | meld7    | 63.1 59.8
mcfn-table3    | Bimodal                           | meld7    | 63.6 60.5
mcfn-table3    | w/o DAB                           | meld7    | 64.2 61.4
mcfn-table3    | w/o CMI                           | meld7    | 63.8 61.1
mcfn-table3    | w/o Intra-modal^s                 | meld7    | 64.2 62.0
mcfn-table3    | w/o Intra-modal^t                 | meld7    | 63.2 61.5
mcfn-table3    | w/o MA                            | meld7    | 63.5 61.1
mcfn-table3    | Proposed                          | meld7    | 64.5 62.2
mcfn-figure3   | Proposed                          | iemocap4 | 76 77.84
msmser-table1  | CMA [12]                          | iemocap4 | 72.8 -
msmser-table1  | GBAN [14]                         | iemocap4 | 70.1 72.4
msmser-table1  | STSER [19]                        | iemocap4 | 72.1 71.1
msmser-table1  | CME [20]                          | iemocap4 | 73.5 72.7
msmser-table1  | KS-Transformer [11]               | iemocap4 | 75.3 74.3
msmser-table1  | MSMSER (Ours)                     | iemocap4 | 76.4 75.2
msmser-table2  | Text                              | iemocap4 | 66.5 64.7
msmser-table2  | Audio                             | iemocap4 | 64.9 63.2
msmser-table2  | w/o Encoder                       | iemocap4 | 71.9 70.9
msmser-table2  | w/o SelfAtt                       | iemocap4 | 72.5 71.4
msmser-table2  | w/o MIT                           | iemocap4 | 67.2 65.1
msmser-table2  | Full                              | iemocap4 | 76.4 75.2
msmser-table3  | w/o RMM                           | iemocap4 | 73.3 71.7
msmser-table3  | w/o RMM (only text)               | iemocap4 | 63.2 61.2
msmser-table3  | w/o RMM (only audio)              | iemocap4 | 55.5 55.2
msmser-table3  | Full                              | iemocap4 | 76.4 75.2
msmser-table3  | Full (only text)                  | iemocap4 | 65.8 64.4
msmser-table3  | Full (only audio)                 | iemocap4 | 63.4 62.9
msmser-figure2 | L=30                              | iemocap4 | 76.4 75.2
slides-table1  | VGGis FC1                         | iemocap4 | 65.3 -
slides-table1  | VGGish Finetuned                  | iemocap4 | 61.4 -
slides-table1  | YAMNet layer 10                   | iemocap4 | 63.2 -
slides-table1  | YAMNet Finetuned                  | iemocap4 | 67.6 -
slides-table1  | TRILL distilled                   | iemocap4 | 70.5 -
slides-table1  | TRILL Finetuned                   | iemocap4 | 73.8 -
slides-table1  | Text-to-Text Transformer (T5)     | iemocap4 | 75.7 -
slides-table1  | TRILL-T5 Multimodal Fusion        | iemocap4 | 81.7 -
slides-table1  | VGGis FC1                         | savee7   | 57.7 -
slides-table1  | VGGish Finetuned                  | savee7   | 59.3 -
slides-table1  | YAMNet layer 10                   | savee7   | 62.3 -
slides-table1  | YAMNet Finetuned                  | savee7   | 62.7 -
slides-table1  | TRILL distilled                   | savee7   | 67.8 -
slides-table1  | TRILL Finetuned                   | savee7   | 68.6 -
slides-table1  | Text-to-Text Transformer (T5)     | savee7   | 72.3 -
slides-table1  | TRILL-T5 Multimodal Fusion        | savee7   | 75.9 -
slides-table1  | VGGis FC1                         | mean     | 61.5
slides-table1  | VGGish Finetuned                  | mean     | 60.4
slides-table1  | YAMNet layer 10                   | mean     | 62.8
slides-table1  | YAMNet Finetuned                  | mean     | 65.2
slides-table1  | TRILL distilled                   | mean     | 69.2
slides-table1  | TRILL Finetuned                   | mean     | 71.2
slides-table1  | Text-to-Text Transformer (T5)     | mean     | 75.5
slides-table1  | TRILL-T5 Multimodal Fusion        | mean     | 78.8
slides-table2  | TRILL (IEMOCAP_Audio)             | iemocap4 | 77.2 81.9 72.3 66.8 74.6
slides-table2  | TRILL (SAVEE_Audio)               | savee4   | 73.3 84.3 73.3 66.7 74.4
slides-table2  | T5 (IEMOCAP_Text)                 | iemocap4 | 79.6 82.7 72.2 64.9 74.9
slides-table2  | T5 (SAVEE_Text)                   | savee4   | 75.0 81.7 71.7 66.7 73.8
slides-table2  | Multimodal Fusion (IEMOCAP)       | iemocap4 | 83.1 84.6 76.3 71.1 78.9
slides-table2  | Multimodal Fusion (SAVEE)         | savee4   | 84.7 85.2 74.5 70.3 78.7
slides-table3  | IEMOCAP&SAVEE                     | joint4   | 84.2 86.0 77.9 71.8
slides-table3  | RAVDESS, trained inside it        | ravdess4 | 82.2 87.8 77.8 76.1
slides-table3  | RAVDESS, trained on IEMOCAP and SAVEE          | joint4-ravdess    | 82.2 87.8 77.8 76.1
slides-table3  | GoEmotions, trained inside it (text)           | goemotions4       | 85.4 88.5 79.7 65.3
slides-table3  | GoEmotions, trained on IEMOCAP and SAVEE (text) | joint4-goemotions | 85.4 88.5 79.7 65.3
"""
Figures = dict[tuple[str, str, str], dict[str, float]]


def printed() -> Figures:
    """(table, row, protocol) -> column -> figure, from `PRINTED`."""
    found: Figures = {}
    for entry in PRINTED.strip().splitlines():
        name, row, task, figures = (part.strip() for part in entry.split("|"))
        columns = zip(COLUMNS[name][task], figures.split(), strict=True)
        found[name, row, task] = {c: float(f) for c, f in columns if f != "-"}
    return found
