// Short names for the API's nouns.

import type { components } from "./schema";

type Schemas = components["schemas"];

export type AwakeWindow = Schemas["AwakeWindow"];
export type Cap = Schemas["Cap"];
export type CapPosture = Schemas["CapPosture"];
export type CreateLink = Schemas["CreateLink"];
export type CreatedLink = Schemas["CreatedLink"];
export type DevHost = Schemas["DevHost"];
export type Link = Schemas["Link"];
export type Me = Schemas["Me"];
export type Part = Schemas["Part"];
export type PartKind = Schemas["PartKind"];
export type ReadinessState = Schemas["ReadinessState"];
export type Receipt = Schemas["Receipt"];
export type Refusal = Schemas["Refusal"];
export type Role = Schemas["Role"];
export type RuntimeState = Schemas["RuntimeState"];
export type RuntimeView = Schemas["RuntimeView"];
export type Workspace = Schemas["Workspace"];
export type WorkspaceChanged = Schemas["WorkspaceChanged"];
export type WorkspaceUsage = Schemas["WorkspaceUsage"];
