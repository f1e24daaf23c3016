/** Which rules of validation are relaxed. A new object keeps them all. */
export interface PodRules {
  /** The object is a Pod, no template. */
  readonly isPod: boolean;
  readonly allowInvalidDeletionCost: boolean;
  readonly allowIndivisibleHugePages: boolean;
  readonly allowInvalidAffinitySelectors: boolean;
  readonly allowInvalidNodeAffinityValues: boolean;
  readonly allowInvalidSpreadSelectors: boolean;
  readonly allowInvalidSpreadKeys: boolean;
  readonly allowNonLocalTokenPath: boolean;
  readonly allowHostSysctls: boolean;
  readonly allowUserNamespacesWithDevices: boolean;
  readonly allowUserNamespacesOnHostNetwork: boolean;
  readonly allowEmptyImageVolume: boolean;
  readonly allowSysAdminWithoutEscalation: boolean;
  readonly allowInitContainerRestarts: boolean;
  readonly allowComparingTolerations: boolean;
}

export const strictRules: PodRules = {
  isPod: true,
  allowInvalidDeletionCost: false,
  allowIndivisibleHugePages: false,
  allowInvalidAffinitySelectors: false,
  allowInvalidNodeAffinityValues: false,
  allowInvalidSpreadSelectors: false,
  allowInvalidSpreadKeys: false,
  allowNonLocalTokenPath: false,
  allowHostSysctls: false,
  allowUserNamespacesWithDevices: false,
  allowUserNamespacesOnHostNetwork: false,
  allowEmptyImageVolume: false,
  allowSysAdminWithoutEscalation: false,
  allowInitContainerRestarts: false,
  allowComparingTolerations: false,
};
export const strictTemplateRules: PodRules = { ...strictRules, isPod: false };
