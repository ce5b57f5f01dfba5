"""Peak memory of reading the large data sets, on made files of their size and form.

    python benchmarks/reading_memory.py tcga [--observations 2000] [--folder DIR]
    python benchmarks/reading_memory.py coco [--observations 118287] [--folder DIR]

A file is made first, then read in a separate process that reports its peak memory. TCGA's table
(60,498 genes) is read twice: with the 5,000 genes of the highest deviance, which also writes the
``.h5ad``, then with all genes from that file. The totals of the observations are compared with
those that were written.
"""

from __future__ import annotations

import argparse
import gzip
import json
import subprocess
import sys
import tempfile
import time
import zipfile
from collections.abc import Callable
from pathlib import Path

import numpy as np
from anndata import AnnData
from peak import peak_megabytes

from vae4counts.data import load_coco2017_object_counts, load_tcga_pancancer_rna_seq
from vae4counts.data.datasets.coco2017 import ANNOTATIONS
from vae4counts.data.datasets.tcga import PHENOTYPES, RNA_SEQ

GENES = 60_498
QUARTERS = 4  # expected counts are made in quarters
LARGEST = 7_000  # four decimals of the logarithm give quarters up to here back exactly


def make_tcga(folder: Path, n_samples: int) -> np.ndarray:
    """Write the two files of TCGA, and return the total of each sample's rounded counts."""
    random = np.random.default_rng(0)
    samples = [f"TCGA-{number:06}-01" for number in range(n_samples)]
    expected = np.arange(QUARTERS * LARGEST + 1) / QUARTERS
    rounded = np.rint(expected).astype(np.int64)
    texts = [f"{value:.4f}" for value in np.log2(expected + 1)]
    depth = random.lognormal(sigma=0.4, size=n_samples)
    totals = np.zeros(n_samples, dtype=np.int64)
    n_nonzero = 0
    with gzip.open(folder / RNA_SEQ.name, "wt", compresslevel=1) as file:
        file.write("\t".join(["sample", *samples]) + "\n")
        for gene in range(GENES):
            rate = np.exp(random.uniform(-6, 7)) * depth * random.gamma(0.7, 1.4, n_samples)
            quarters = QUARTERS * random.poisson(rate)
            quarters += (quarters > 0) & (random.random(n_samples) < 0.3)
            np.minimum(quarters, QUARTERS * LARGEST, out=quarters)
            totals += rounded[quarters]
            n_nonzero += np.count_nonzero(quarters)
            row = "\t".join([texts[quarter] for quarter in quarters.tolist()])
            file.write(f"ENSG{gene:011}.1\t{row}\n")
    with gzip.open(folder / PHENOTYPES.name, "wt") as file:
        file.write("sample\tsample_type_id\tsample_type\t_primary_disease\n")
        file.writelines(f"{name}\t1\tPrimary Tumor\tmade\n" for name in samples)
    size = (folder / RNA_SEQ.name).stat().st_size
    share = n_nonzero / (n_samples * GENES)
    print(f"made {n_samples:,} x {GENES:,}, {share:.0%} not zero, {size / 1e6:,.0f} MB")
    return totals


def make_coco(folder: Path, n_images: int) -> np.ndarray:
    """Write COCO's zip of training instances, and return the number of objects in each image."""
    random = np.random.default_rng(0)
    totals = random.poisson(random.gamma(1.0, 860_001 / 118_287, n_images))
    # 52 numbers an object is what makes the file of 118,287 images as large as COCO's
    shapes = [np.round(random.uniform(0, 640, 52), 2).tolist() for _ in range(1000)]
    outlines = [
        json.dumps({"segmentation": [shape], "area": shape[0], "bbox": shape[:4]})[1:-1]
        for shape in shapes
    ]
    number = size = 0
    path = folder / ANNOTATIONS.name
    with (
        zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED, compresslevel=1) as archive,
        archive.open("annotations/instances_train2017.json", "w") as file,
    ):
        images = [
            {
                "license": 1,
                "file_name": f"{image:012}.jpg",
                "coco_url": f"http://images.cocodataset.org/train2017/{image:012}.jpg",
                "height": 480,
                "width": 640,
                "date_captured": "2013-11-14 16:28:13",
                "flickr_url": f"http://farm6.staticflickr.com/5535/{image}_4d564e57_z.jpg",
                "id": image,
            }
            for image in range(n_images)
        ]
        categories = [
            {"id": category, "name": f"category {category}", "supercategory": "made"}
            for category in range(80)
        ]
        licences = [{"id": 1, "name": "made", "url": "http://made"}]
        lists = {"licenses": licences, "images": images, "categories": categories}
        file.write(json.dumps(lists).encode()[:-1] + b', "annotations": [')
        for image, total in enumerate(totals.tolist()):
            for _ in range(total):
                row = (
                    f'{{{outlines[number % 1000]}, "iscrowd": 0, "image_id": {image}, '
                    f'"category_id": {number % 80}, "id": {number}}}'
                )
                size += file.write(b", " * (number > 0) + row.encode())
                number += 1
        file.write(b"]}")
    print(f"made {n_images:,} images with {number:,} objects, {size / 1e6:,.0f} MB of JSON")
    return totals


MAKERS = {"tcga": make_tcga, "coco": make_coco}
READERS: dict[str, dict[str, Callable[[Path], AnnData]]] = {
    "tcga": {
        "5,000 genes": lambda folder: load_tcga_pancancer_rna_seq(folder, 5000, offline=True),
        "all genes": lambda folder: load_tcga_pancancer_rna_seq(folder, offline=True),
    },
    "coco": {
        "objects": lambda folder: load_coco2017_object_counts(
            "train", folder / ANNOTATIONS.name, offline=True
        )
    },
}


def measure(read: Callable[[Path], AnnData], folder: Path) -> dict[str, object]:
    """Read the files in this process, whose peak memory is reported."""
    start = time.perf_counter()
    adata = read(folder)
    return {
        "seconds": time.perf_counter() - start,
        "peak": peak_megabytes(),
        "totals": np.asarray(adata.X.sum(1)).ravel().tolist(),
    }


def main() -> None:
    """Make the files, and print a line for each way of reading them."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("data", choices=MAKERS)
    parser.add_argument("--observations", type=int, help="by default as many as the real data have")
    parser.add_argument("--folder", type=Path, help="folder for the files, which are kept")
    parser.add_argument("--measure", help=argparse.SUPPRESS)
    given = parser.parse_args()
    if given.measure is not None:
        print(json.dumps(measure(READERS[given.data][given.measure], given.folder)))
        return
    with tempfile.TemporaryDirectory() as temporary:
        folder = given.folder or Path(temporary)
        default = {"tcga": 2000, "coco": 118_287}[given.data]
        totals = MAKERS[given.data](folder, given.observations or default)
        for way in READERS[given.data]:
            command = [sys.executable, __file__, given.data, "--measure", way]
            output = subprocess.run(  # noqa: S603
                [*command, "--folder", str(folder)], check=True, capture_output=True, text=True
            ).stdout
            result = json.loads(output)
            if way != "5,000 genes" and result["totals"] != totals.tolist():
                raise SystemExit("the totals differ from those that were written")
            print(f"{way}: peak {result['peak']:,.0f} MB, {result['seconds']:.0f} s")


if __name__ == "__main__":
    main()
