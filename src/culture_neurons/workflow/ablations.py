"""Under which masks questions are asked, in which jobs, and the files of the answers."""

from __future__ import annotations

from functools import cached_property

from culture_neurons.workflow.questions import Questions


class Ablations(Questions):
    """Jobs and files of answers under masks.

    They lie in the folders `of` (see `layout.PATHS`) of the run's own questions, of further data sets, and, for other
    strengths and masks of shuffled labels, of robustness. A job asks under the masks of one group of selectors.
    """

    @cached_property
    def mask_folders(self) -> list[str]:
        """Folders of answers under masks: of the run, of all data sets, and of robustness."""
        sets = [f"sets/{name}/" for name in self.masked_sets] if self.sets else []
        return ["", *sets, *["robustness/"] * bool(self.repeated)]

    def mask_groups(self, of: str) -> dict[str, list[str]]:
        """Which selectors' masks one job asks, by its name: a selector's, or a number (shards: ablate_selectors)."""
        if of == "robustness/":
            return {name: [name] for name in self.repeated}
        names, jobs = sorted(self.evaluated if of else self.selectors), self.shards["ablate_selectors"]
        if jobs is None:
            return {name: [name] for name in names}
        return {str(job): names[job::jobs] for job in range(min(jobs, len(names)))}

    @cached_property
    def all_groups(self) -> list[str]:
        """Names of all these jobs."""
        return sorted({group for of in self.mask_folders for group in self.mask_groups(of)})

    def variants(self, of: str) -> list[str]:
        """What is asked under one selector's masks there, in the order of a job's answers: masks of each size, masks
        at each factor, masks of shuffled labels."""
        if not of:
            return [f"top{fraction}" for fraction in self.fractions]
        permuted = ["permuted"] * bool(of == "robustness/" and self.permutations)
        return [f"x{factor}" for factor in self.group_factors(of)] + permuted

    @cached_property
    def all_variants(self) -> list[str]:
        """All of them."""
        return sorted({variant for of in self.mask_folders for variant in self.variants(of)})

    def group_masks(self, model: str, of: str, group: str) -> list[str]:
        """The mask files that one of these jobs reads, in the order of its answers."""
        if of == "robustness/" and not self.strengths:
            return []
        names = self.mask_groups(of)[group]
        fractions = [self.top] if of else self.fractions
        return [self.path("masks", model=model, selector=n, fraction=f) for n in names for f in fractions]

    def group_permuted(self, model: str, of: str, group: str) -> list[str]:
        """The masks of shuffled labels that it reads."""
        wanted = of == "robustness/" and self.permutations
        return [self.path("permuted_masks", model=model, selector=group)] if wanted else []

    def group_factors(self, of: str) -> list[str]:
        """What it multiplies masked neurons by; none: 0. A strength s stands for the factor 1 - s."""
        if of == "robustness/":
            return [self.factor(strength) for strength in self.strengths]
        return self.factors if of else []

    def group_of(self, of: str, selector: str) -> str:
        """Which of these jobs asks under a selector's masks."""
        return next(group for group, names in self.mask_groups(of).items() if selector in names)

    def group_shards(self, model: str, of: str, selector: str) -> list[str]:
        """The files that hold the answers under one selector's masks."""
        shards = {"mask_shard": range(self.shards["ablate_masks"]), "shard": range(self.shards["ablate"])}
        return self.all("outcomes_shard", model=model, of=of, group=self.group_of(of, selector), **shards)

    def mask_number(self, of: str, selector: str, variant: str) -> int:
        """Which of the masks there a variant of a selector's is, from 0."""
        names, variants = self.mask_groups(of)[self.group_of(of, selector)], self.variants(of)
        return names.index(selector) * len(variants) + variants.index(variant)

    @cached_property
    def strength_outcomes(self) -> list[str]:
        """Answers under the masks at other strengths."""
        variants = [f"x{self.factor(strength)}" for strength in self.strengths]
        return self.all("outcomes", of="robustness/", selector=sorted(self.repeated), variant=variants)

    @cached_property
    def permuted_outcomes(self) -> list[str]:
        """Answers under the masks of shuffled labels."""
        wanted = sorted(self.repeated) if self.permutations else []
        return self.all("outcomes", of="robustness/", selector=wanted, variant="permuted")

    @cached_property
    def set_outcomes(self) -> list[str]:
        """Answers under masks to the data sets that are asked for their own sake."""
        folders = [f"sets/{name}/" for name in sorted(self.masked_sets)]
        variants = [f"x{factor}" for factor in self.factors]
        return self.all("outcomes", of=folders, selector=self.evaluated, variant=variants)

    @cached_property
    def own_outcomes(self) -> list[str]:
        """Those of the run's ablation that the tables of data sets take for its own questions, which are not asked
        again then."""
        if self.dataset in self.masked_sets:
            return []
        return self.all("outcomes", of="", selector=self.evaluated, variant=f"top{self.top}")
