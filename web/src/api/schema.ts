// Made by `npm run generate` from docs/reference/openapi.json. Do not edit.

export interface paths {
    "/v1/api-keys": {
        parameters: {
            query?: never;
            header?: never;
            path?: never;
            cookie?: never;
        };
        /** My API keys. */
        get: {
            parameters: {
                query?: never;
                header?: never;
                path?: never;
                cookie?: never;
            };
            requestBody?: never;
            responses: {
                200: {
                    headers: {
                        [name: string]: unknown;
                    };
                    content: {
                        "application/json": components["schemas"]["ApiKeys"];
                    };
                };
                default: {
                    headers: {
                        [name: string]: unknown;
                    };
                    content: {
                        "application/json": components["schemas"]["ErrorBody"];
                    };
                };
            };
        };
        put?: never;
        /** Make an API key of mine; its value is shown only here. */
        post: {
            parameters: {
                query?: never;
                header?: never;
                path?: never;
                cookie?: never;
            };
            requestBody: {
                content: {
                    "application/json": components["schemas"]["CreateApiKey"];
                };
            };
            responses: {
                201: {
                    headers: {
                        [name: string]: unknown;
                    };
                    content: {
                        "application/json": components["schemas"]["CreatedApiKey"];
                    };
                };
                default: {
                    headers: {
                        [name: string]: unknown;
                    };
                    content: {
                        "application/json": components["schemas"]["ErrorBody"];
                    };
                };
            };
        };
        delete?: never;
        options?: never;
        head?: never;
        patch?: never;
        trace?: never;
    };
    "/v1/api-keys/{key}": {
        parameters: {
            query?: never;
            header?: never;
            path?: never;
            cookie?: never;
        };
        get?: never;
        put?: never;
        post?: never;
        /** Revoke an API key of mine. */
        delete: {
            parameters: {
                query?: never;
                header?: never;
                path: {
                    /** @description Key id */
                    key: components["schemas"]["ApiKeyId"];
                };
                cookie?: never;
            };
            requestBody?: never;
            responses: {
                204: {
                    headers: {
                        [name: string]: unknown;
                    };
                    content?: never;
                };
                default: {
                    headers: {
                        [name: string]: unknown;
                    };
                    content: {
                        "application/json": components["schemas"]["ErrorBody"];
                    };
                };
            };
        };
        options?: never;
        head?: never;
        patch?: never;
        trace?: never;
    };
    "/v1/device/code": {
        parameters: {
            query?: never;
            header?: never;
            path?: never;
            cookie?: never;
        };
        get?: never;
        put?: never;
        /** Begin to sign a machine in that has no browser. */
        post: {
            parameters: {
                query?: never;
                header?: never;
                path?: never;
                cookie?: never;
            };
            requestBody: {
                content: {
                    "application/json": components["schemas"]["StartDevice"];
                };
            };
            responses: {
                200: {
                    headers: {
                        [name: string]: unknown;
                    };
                    content: {
                        "application/json": components["schemas"]["DeviceStarted"];
                    };
                };
                default: {
                    headers: {
                        [name: string]: unknown;
                    };
                    content: {
                        "application/json": components["schemas"]["ErrorBody"];
                    };
                };
            };
        };
        delete?: never;
        options?: never;
        head?: never;
        patch?: never;
        trace?: never;
    };
    "/v1/device/decision": {
        parameters: {
            query?: never;
            header?: never;
            path?: never;
            cookie?: never;
        };
        get?: never;
        put?: never;
        /** Decide about a machine that waits. */
        post: {
            parameters: {
                query?: never;
                header?: never;
                path?: never;
                cookie?: never;
            };
            requestBody: {
                content: {
                    "application/json": components["schemas"]["DecideDevice"];
                };
            };
            responses: {
                204: {
                    headers: {
                        [name: string]: unknown;
                    };
                    content?: never;
                };
                default: {
                    headers: {
                        [name: string]: unknown;
                    };
                    content: {
                        "application/json": components["schemas"]["ErrorBody"];
                    };
                };
            };
        };
        delete?: never;
        options?: never;
        head?: never;
        patch?: never;
        trace?: never;
    };
    "/v1/device/loopback": {
        parameters: {
            query?: never;
            header?: never;
            path?: never;
            cookie?: never;
        };
        get?: never;
        put?: never;
        /** Redeem the code that a browser brought to a program on its own machine. */
        post: {
            parameters: {
                query?: never;
                header?: never;
                path?: never;
                cookie?: never;
            };
            requestBody: {
                content: {
                    "application/json": components["schemas"]["RedeemLoopback"];
                };
            };
            responses: {
                200: {
                    headers: {
                        [name: string]: unknown;
                    };
                    content: {
                        "application/json": components["schemas"]["MachineKey"];
                    };
                };
                default: {
                    headers: {
                        [name: string]: unknown;
                    };
                    content: {
                        "application/json": components["schemas"]["ErrorBody"];
                    };
                };
            };
        };
        delete?: never;
        options?: never;
        head?: never;
        patch?: never;
        trace?: never;
    };
    "/v1/device/token": {
        parameters: {
            query?: never;
            header?: never;
            path?: never;
            cookie?: never;
        };
        get?: never;
        put?: never;
        /** Poll for the machine's key. Refused with a code of RFC 8628 behind `device.` until somebody decided. */
        post: {
            parameters: {
                query?: never;
                header?: never;
                path?: never;
                cookie?: never;
            };
            requestBody: {
                content: {
                    "application/json": components["schemas"]["RedeemDevice"];
                };
            };
            responses: {
                200: {
                    headers: {
                        [name: string]: unknown;
                    };
                    content: {
                        "application/json": components["schemas"]["MachineKey"];
                    };
                };
                default: {
                    headers: {
                        [name: string]: unknown;
                    };
                    content: {
                        "application/json": components["schemas"]["ErrorBody"];
                    };
                };
            };
        };
        delete?: never;
        options?: never;
        head?: never;
        patch?: never;
        trace?: never;
    };
    "/v1/git-credentials": {
        parameters: {
            query?: never;
            header?: never;
            path?: never;
            cookie?: never;
        };
        /** My credentials for Git hosts, without their values. */
        get: {
            parameters: {
                query?: never;
                header?: never;
                path?: never;
                cookie?: never;
            };
            requestBody?: never;
            responses: {
                200: {
                    headers: {
                        [name: string]: unknown;
                    };
                    content: {
                        "application/json": components["schemas"]["GitCredentials"];
                    };
                };
                default: {
                    headers: {
                        [name: string]: unknown;
                    };
                    content: {
                        "application/json": components["schemas"]["ErrorBody"];
                    };
                };
            };
        };
        /** Set my token for a Git host; it can't be read back. */
        put: {
            parameters: {
                query?: never;
                header?: never;
                path?: never;
                cookie?: never;
            };
            requestBody: {
                content: {
                    "application/json": components["schemas"]["SetGitCredential"];
                };
            };
            responses: {
                200: {
                    headers: {
                        [name: string]: unknown;
                    };
                    content: {
                        "application/json": components["schemas"]["GitCredential"];
                    };
                };
                default: {
                    headers: {
                        [name: string]: unknown;
                    };
                    content: {
                        "application/json": components["schemas"]["ErrorBody"];
                    };
                };
            };
        };
        post?: never;
        delete?: never;
        options?: never;
        head?: never;
        patch?: never;
        trace?: never;
    };
    "/v1/git-credentials/{host}": {
        parameters: {
            query?: never;
            header?: never;
            path?: never;
            cookie?: never;
        };
        get?: never;
        put?: never;
        post?: never;
        /** Remove my token for a Git host; nothing is given from the next request on. */
        delete: {
            parameters: {
                query?: never;
                header?: never;
                path: {
                    /** @description The Git host */
                    host: string;
                };
                cookie?: never;
            };
            requestBody?: never;
            responses: {
                204: {
                    headers: {
                        [name: string]: unknown;
                    };
                    content?: never;
                };
                default: {
                    headers: {
                        [name: string]: unknown;
                    };
                    content: {
                        "application/json": components["schemas"]["ErrorBody"];
                    };
                };
            };
        };
        options?: never;
        head?: never;
        patch?: never;
        trace?: never;
    };
    "/v1/git-installations/{slug}": {
        parameters: {
            query?: never;
            header?: never;
            path?: never;
            cookie?: never;
        };
        get?: never;
        /** Say where the installation's GitHub App is installed for an org: its repositories' tokens come from there. */
        put: {
            parameters: {
                query?: never;
                header?: never;
                path: {
                    /** @description Org slug */
                    slug: string;
                };
                cookie?: never;
            };
            requestBody: {
                content: {
                    "application/json": components["schemas"]["SetGitInstallation"];
                };
            };
            responses: {
                204: {
                    headers: {
                        [name: string]: unknown;
                    };
                    content?: never;
                };
                default: {
                    headers: {
                        [name: string]: unknown;
                    };
                    content: {
                        "application/json": components["schemas"]["ErrorBody"];
                    };
                };
            };
        };
        post?: never;
        /** Use the GitHub App for an org no more. */
        delete: {
            parameters: {
                query?: never;
                header?: never;
                path: {
                    /** @description Org slug */
                    slug: string;
                };
                cookie?: never;
            };
            requestBody?: never;
            responses: {
                204: {
                    headers: {
                        [name: string]: unknown;
                    };
                    content?: never;
                };
                default: {
                    headers: {
                        [name: string]: unknown;
                    };
                    content: {
                        "application/json": components["schemas"]["ErrorBody"];
                    };
                };
            };
        };
        options?: never;
        head?: never;
        patch?: never;
        trace?: never;
    };
    "/v1/git-keys": {
        parameters: {
            query?: never;
            header?: never;
            path?: never;
            cookie?: never;
        };
        /** My SSH keys for Git hosts, their public halves. */
        get: {
            parameters: {
                query?: never;
                header?: never;
                path?: never;
                cookie?: never;
            };
            requestBody?: never;
            responses: {
                200: {
                    headers: {
                        [name: string]: unknown;
                    };
                    content: {
                        "application/json": components["schemas"]["GitKeys"];
                    };
                };
                default: {
                    headers: {
                        [name: string]: unknown;
                    };
                    content: {
                        "application/json": components["schemas"]["ErrorBody"];
                    };
                };
            };
        };
        /** Bring an SSH key for a Git host; it can't be read back. */
        put: {
            parameters: {
                query?: never;
                header?: never;
                path?: never;
                cookie?: never;
            };
            requestBody: {
                content: {
                    "application/json": components["schemas"]["ImportGitKey"];
                };
            };
            responses: {
                200: {
                    headers: {
                        [name: string]: unknown;
                    };
                    content: {
                        "application/json": components["schemas"]["GitKey"];
                    };
                };
                default: {
                    headers: {
                        [name: string]: unknown;
                    };
                    content: {
                        "application/json": components["schemas"]["ErrorBody"];
                    };
                };
            };
        };
        /** Make an SSH key for a Git host; its private half never leaves the server. */
        post: {
            parameters: {
                query?: never;
                header?: never;
                path?: never;
                cookie?: never;
            };
            requestBody: {
                content: {
                    "application/json": components["schemas"]["GenerateGitKey"];
                };
            };
            responses: {
                200: {
                    headers: {
                        [name: string]: unknown;
                    };
                    content: {
                        "application/json": components["schemas"]["GitKey"];
                    };
                };
                default: {
                    headers: {
                        [name: string]: unknown;
                    };
                    content: {
                        "application/json": components["schemas"]["ErrorBody"];
                    };
                };
            };
        };
        delete?: never;
        options?: never;
        head?: never;
        patch?: never;
        trace?: never;
    };
    "/v1/git-keys/{host}": {
        parameters: {
            query?: never;
            header?: never;
            path?: never;
            cookie?: never;
        };
        get?: never;
        put?: never;
        post?: never;
        /** Remove my SSH key for a Git host; nothing is signed from the next request on. */
        delete: {
            parameters: {
                query?: never;
                header?: never;
                path: {
                    /** @description The Git host */
                    host: string;
                };
                cookie?: never;
            };
            requestBody?: never;
            responses: {
                204: {
                    headers: {
                        [name: string]: unknown;
                    };
                    content?: never;
                };
                default: {
                    headers: {
                        [name: string]: unknown;
                    };
                    content: {
                        "application/json": components["schemas"]["ErrorBody"];
                    };
                };
            };
        };
        options?: never;
        head?: never;
        patch?: never;
        trace?: never;
    };
    "/v1/health": {
        parameters: {
            query?: never;
            header?: never;
            path?: never;
            cookie?: never;
        };
        /** Whether the server is alive; asks nothing of anybody else. */
        get: {
            parameters: {
                query?: never;
                header?: never;
                path?: never;
                cookie?: never;
            };
            requestBody?: never;
            responses: {
                200: {
                    headers: {
                        [name: string]: unknown;
                    };
                    content: {
                        "application/json": components["schemas"]["Health"];
                    };
                };
            };
        };
        put?: never;
        post?: never;
        delete?: never;
        options?: never;
        head?: never;
        patch?: never;
        trace?: never;
    };
    "/v1/installation/ledger/export": {
        parameters: {
            query?: never;
            header?: never;
            path?: never;
            cookie?: never;
        };
        /** Export the installation's own ledger. */
        get: {
            parameters: {
                query?: never;
                header?: never;
                path?: never;
                cookie?: never;
            };
            requestBody?: never;
            responses: {
                200: {
                    headers: {
                        [name: string]: unknown;
                    };
                    content: {
                        "application/x-ndjson": string;
                    };
                };
                default: {
                    headers: {
                        [name: string]: unknown;
                    };
                    content: {
                        "application/json": components["schemas"]["ErrorBody"];
                    };
                };
            };
        };
        put?: never;
        post?: never;
        delete?: never;
        options?: never;
        head?: never;
        patch?: never;
        trace?: never;
    };
    "/v1/installation/ledger/state": {
        parameters: {
            query?: never;
            header?: never;
            path?: never;
            cookie?: never;
        };
        /** How the installation's own ledger stands. */
        get: {
            parameters: {
                query?: never;
                header?: never;
                path?: never;
                cookie?: never;
            };
            requestBody?: never;
            responses: {
                200: {
                    headers: {
                        [name: string]: unknown;
                    };
                    content: {
                        "application/json": components["schemas"]["LedgerState"];
                    };
                };
                default: {
                    headers: {
                        [name: string]: unknown;
                    };
                    content: {
                        "application/json": components["schemas"]["ErrorBody"];
                    };
                };
            };
        };
        put?: never;
        post?: never;
        delete?: never;
        options?: never;
        head?: never;
        patch?: never;
        trace?: never;
    };
    "/v1/invitations/accept": {
        parameters: {
            query?: never;
            header?: never;
            path?: never;
            cookie?: never;
        };
        get?: never;
        put?: never;
        /** Accept an invitation: signed in as oneself, else as a new user of the name given, whose API key is shown only here. */
        post: {
            parameters: {
                query?: never;
                header?: never;
                path?: never;
                cookie?: never;
            };
            requestBody: {
                content: {
                    "application/json": components["schemas"]["AcceptInvitation"];
                };
            };
            responses: {
                200: {
                    headers: {
                        [name: string]: unknown;
                    };
                    content: {
                        "application/json": components["schemas"]["AcceptedInvitation"];
                    };
                };
                default: {
                    headers: {
                        [name: string]: unknown;
                    };
                    content: {
                        "application/json": components["schemas"]["ErrorBody"];
                    };
                };
            };
        };
        delete?: never;
        options?: never;
        head?: never;
        patch?: never;
        trace?: never;
    };
    "/v1/me": {
        parameters: {
            query?: never;
            header?: never;
            path?: never;
            cookie?: never;
        };
        /** Who am I? */
        get: {
            parameters: {
                query?: never;
                header?: never;
                path?: never;
                cookie?: never;
            };
            requestBody?: never;
            responses: {
                200: {
                    headers: {
                        [name: string]: unknown;
                    };
                    content: {
                        "application/json": components["schemas"]["Me"];
                    };
                };
                default: {
                    headers: {
                        [name: string]: unknown;
                    };
                    content: {
                        "application/json": components["schemas"]["ErrorBody"];
                    };
                };
            };
        };
        put?: never;
        post?: never;
        delete?: never;
        options?: never;
        head?: never;
        patch?: never;
        trace?: never;
    };
    "/v1/operator/data-key/rotate": {
        parameters: {
            query?: never;
            header?: never;
            path?: never;
            cookie?: never;
        };
        get?: never;
        put?: never;
        /** Put a new data key in use for the installation; what lies under the old one is sealed anew in the background. */
        post: {
            parameters: {
                query?: never;
                header?: never;
                path?: never;
                cookie?: never;
            };
            requestBody?: never;
            responses: {
                204: {
                    headers: {
                        [name: string]: unknown;
                    };
                    content?: never;
                };
                default: {
                    headers: {
                        [name: string]: unknown;
                    };
                    content: {
                        "application/json": components["schemas"]["ErrorBody"];
                    };
                };
            };
        };
        delete?: never;
        options?: never;
        head?: never;
        patch?: never;
        trace?: never;
    };
    "/v1/operator/health-report": {
        parameters: {
            query?: never;
            header?: never;
            path?: never;
            cookie?: never;
        };
        /**
         * How the installation is: hosts, ledgers, jobs, disks, clocks, keys, and who it depends on. Each is looked at now, and for
         *     some seconds at most.
         */
        get: {
            parameters: {
                query?: never;
                header?: never;
                path?: never;
                cookie?: never;
            };
            requestBody?: never;
            responses: {
                200: {
                    headers: {
                        [name: string]: unknown;
                    };
                    content: {
                        "application/json": components["schemas"]["HealthReport"];
                    };
                };
                default: {
                    headers: {
                        [name: string]: unknown;
                    };
                    content: {
                        "application/json": components["schemas"]["ErrorBody"];
                    };
                };
            };
        };
        put?: never;
        post?: never;
        delete?: never;
        options?: never;
        head?: never;
        patch?: never;
        trace?: never;
    };
    "/v1/operator/jobs": {
        parameters: {
            query?: never;
            header?: never;
            path?: never;
            cookie?: never;
        };
        /** Background jobs, newest first. */
        get: {
            parameters: {
                query?: {
                    /** @description Only of this queue. */
                    queue?: components["schemas"]["Queue"];
                    /** @description Only in this state. */
                    state?: components["schemas"]["JobState"];
                    /** @description Only of this kind. */
                    kind?: string;
                    /** @description Only older than this job: `next` of the page before. */
                    before?: string;
                    /** @description How many; 50 when absent, at most 200. */
                    limit?: number;
                };
                header?: never;
                path?: never;
                cookie?: never;
            };
            requestBody?: never;
            responses: {
                200: {
                    headers: {
                        [name: string]: unknown;
                    };
                    content: {
                        "application/json": components["schemas"]["BackgroundJobs"];
                    };
                };
                default: {
                    headers: {
                        [name: string]: unknown;
                    };
                    content: {
                        "application/json": components["schemas"]["ErrorBody"];
                    };
                };
            };
        };
        put?: never;
        post?: never;
        delete?: never;
        options?: never;
        head?: never;
        patch?: never;
        trace?: never;
    };
    "/v1/operator/jobs/{job}/cancel": {
        parameters: {
            query?: never;
            header?: never;
            path?: never;
            cookie?: never;
        };
        get?: never;
        put?: never;
        /** Cancel a job; one that runs is told to end. */
        post: {
            parameters: {
                query?: never;
                header?: never;
                path: {
                    /** @description Job id */
                    job: components["schemas"]["BackgroundJobId"];
                };
                cookie?: never;
            };
            requestBody?: never;
            responses: {
                200: {
                    headers: {
                        [name: string]: unknown;
                    };
                    content: {
                        "application/json": components["schemas"]["BackgroundJob"];
                    };
                };
                default: {
                    headers: {
                        [name: string]: unknown;
                    };
                    content: {
                        "application/json": components["schemas"]["ErrorBody"];
                    };
                };
            };
        };
        delete?: never;
        options?: never;
        head?: never;
        patch?: never;
        trace?: never;
    };
    "/v1/operator/jobs/{job}/retry": {
        parameters: {
            query?: never;
            header?: never;
            path?: never;
            cookie?: never;
        };
        get?: never;
        put?: never;
        /** Run a job again that did not succeed, or one that waits at once. */
        post: {
            parameters: {
                query?: never;
                header?: never;
                path: {
                    /** @description Job id */
                    job: components["schemas"]["BackgroundJobId"];
                };
                cookie?: never;
            };
            requestBody?: never;
            responses: {
                200: {
                    headers: {
                        [name: string]: unknown;
                    };
                    content: {
                        "application/json": components["schemas"]["BackgroundJob"];
                    };
                };
                default: {
                    headers: {
                        [name: string]: unknown;
                    };
                    content: {
                        "application/json": components["schemas"]["ErrorBody"];
                    };
                };
            };
        };
        delete?: never;
        options?: never;
        head?: never;
        patch?: never;
        trace?: never;
    };
    "/v1/operator/keys": {
        parameters: {
            query?: never;
            header?: never;
            path?: never;
            cookie?: never;
        };
        /** The key-encryption keys, and how many data keys each wraps: whether an old one can be taken away, or one is missing. */
        get: {
            parameters: {
                query?: never;
                header?: never;
                path?: never;
                cookie?: never;
            };
            requestBody?: never;
            responses: {
                200: {
                    headers: {
                        [name: string]: unknown;
                    };
                    content: {
                        "application/json": components["schemas"]["KeyEncryptionKeys"];
                    };
                };
                default: {
                    headers: {
                        [name: string]: unknown;
                    };
                    content: {
                        "application/json": components["schemas"]["ErrorBody"];
                    };
                };
            };
        };
        put?: never;
        post?: never;
        delete?: never;
        options?: never;
        head?: never;
        patch?: never;
        trace?: never;
    };
    "/v1/operator/queues": {
        parameters: {
            query?: never;
            header?: never;
            path?: never;
            cookie?: never;
        };
        /** Queues of background jobs, counted over all servers. */
        get: {
            parameters: {
                query?: never;
                header?: never;
                path?: never;
                cookie?: never;
            };
            requestBody?: never;
            responses: {
                200: {
                    headers: {
                        [name: string]: unknown;
                    };
                    content: {
                        "application/json": components["schemas"]["Queues"];
                    };
                };
                default: {
                    headers: {
                        [name: string]: unknown;
                    };
                    content: {
                        "application/json": components["schemas"]["ErrorBody"];
                    };
                };
            };
        };
        put?: never;
        post?: never;
        delete?: never;
        options?: never;
        head?: never;
        patch?: never;
        trace?: never;
    };
    "/v1/operator/settings": {
        parameters: {
            query?: never;
            header?: never;
            path?: never;
            cookie?: never;
        };
        /** Settings of the installation. */
        get: {
            parameters: {
                query?: never;
                header?: never;
                path?: never;
                cookie?: never;
            };
            requestBody?: never;
            responses: {
                200: {
                    headers: {
                        [name: string]: unknown;
                    };
                    content: {
                        "application/json": components["schemas"]["Settings"];
                    };
                };
                default: {
                    headers: {
                        [name: string]: unknown;
                    };
                    content: {
                        "application/json": components["schemas"]["ErrorBody"];
                    };
                };
            };
        };
        put?: never;
        post?: never;
        delete?: never;
        options?: never;
        head?: never;
        patch?: never;
        trace?: never;
    };
    "/v1/operator/settings/{setting}": {
        parameters: {
            query?: never;
            header?: never;
            path?: never;
            cookie?: never;
        };
        /** A setting, without its secrets. */
        get: {
            parameters: {
                query?: never;
                header?: never;
                path: {
                    /**
                     * @description Name of the setting
                     * @example object_storage
                     */
                    setting: string;
                };
                cookie?: never;
            };
            requestBody?: never;
            responses: {
                200: {
                    headers: {
                        [name: string]: unknown;
                    };
                    content: {
                        "application/json": components["schemas"]["Setting"];
                    };
                };
                default: {
                    headers: {
                        [name: string]: unknown;
                    };
                    content: {
                        "application/json": components["schemas"]["ErrorBody"];
                    };
                };
            };
        };
        /** Change a setting; every change is kept as a version. */
        put: {
            parameters: {
                query?: never;
                header?: never;
                path: {
                    /**
                     * @description Name of the setting
                     * @example object_storage
                     */
                    setting: string;
                };
                cookie?: never;
            };
            requestBody: {
                content: {
                    "application/json": components["schemas"]["ChangeSetting"];
                };
            };
            responses: {
                200: {
                    headers: {
                        [name: string]: unknown;
                    };
                    content: {
                        "application/json": components["schemas"]["Setting"];
                    };
                };
                default: {
                    headers: {
                        [name: string]: unknown;
                    };
                    content: {
                        "application/json": components["schemas"]["ErrorBody"];
                    };
                };
            };
        };
        post?: never;
        /** Take a setting out of force; its history stays. */
        delete: {
            parameters: {
                query?: never;
                header?: never;
                path: {
                    /**
                     * @description Name of the setting
                     * @example object_storage
                     */
                    setting: string;
                };
                cookie?: never;
            };
            requestBody?: never;
            responses: {
                200: {
                    headers: {
                        [name: string]: unknown;
                    };
                    content: {
                        "application/json": components["schemas"]["Setting"];
                    };
                };
                default: {
                    headers: {
                        [name: string]: unknown;
                    };
                    content: {
                        "application/json": components["schemas"]["ErrorBody"];
                    };
                };
            };
        };
        options?: never;
        head?: never;
        patch?: never;
        trace?: never;
    };
    "/v1/operator/settings/{setting}/restore": {
        parameters: {
            query?: never;
            header?: never;
            path?: never;
            cookie?: never;
        };
        get?: never;
        put?: never;
        /** Make an earlier version the newest again. */
        post: {
            parameters: {
                query?: never;
                header?: never;
                path: {
                    /**
                     * @description Name of the setting
                     * @example object_storage
                     */
                    setting: string;
                };
                cookie?: never;
            };
            requestBody: {
                content: {
                    "application/json": components["schemas"]["RestoreSetting"];
                };
            };
            responses: {
                200: {
                    headers: {
                        [name: string]: unknown;
                    };
                    content: {
                        "application/json": components["schemas"]["Setting"];
                    };
                };
                default: {
                    headers: {
                        [name: string]: unknown;
                    };
                    content: {
                        "application/json": components["schemas"]["ErrorBody"];
                    };
                };
            };
        };
        delete?: never;
        options?: never;
        head?: never;
        patch?: never;
        trace?: never;
    };
    "/v1/operator/settings/{setting}/versions": {
        parameters: {
            query?: never;
            header?: never;
            path?: never;
            cookie?: never;
        };
        /** The versions of a setting and how they differ. */
        get: {
            parameters: {
                query?: never;
                header?: never;
                path: {
                    /**
                     * @description Name of the setting
                     * @example object_storage
                     */
                    setting: string;
                };
                cookie?: never;
            };
            requestBody?: never;
            responses: {
                200: {
                    headers: {
                        [name: string]: unknown;
                    };
                    content: {
                        "application/json": components["schemas"]["SettingVersions"];
                    };
                };
                default: {
                    headers: {
                        [name: string]: unknown;
                    };
                    content: {
                        "application/json": components["schemas"]["ErrorBody"];
                    };
                };
            };
        };
        put?: never;
        post?: never;
        delete?: never;
        options?: never;
        head?: never;
        patch?: never;
        trace?: never;
    };
    "/v1/operator/signing-keys": {
        parameters: {
            query?: never;
            header?: never;
            path?: never;
            cookie?: never;
        };
        /** The keys that sign links, sessions and tickets, or still verify them. */
        get: {
            parameters: {
                query?: never;
                header?: never;
                path?: never;
                cookie?: never;
            };
            requestBody?: never;
            responses: {
                200: {
                    headers: {
                        [name: string]: unknown;
                    };
                    content: {
                        "application/json": components["schemas"]["SigningKeys"];
                    };
                };
                default: {
                    headers: {
                        [name: string]: unknown;
                    };
                    content: {
                        "application/json": components["schemas"]["ErrorBody"];
                    };
                };
            };
        };
        put?: never;
        post?: never;
        delete?: never;
        options?: never;
        head?: never;
        patch?: never;
        trace?: never;
    };
    "/v1/operator/signing-keys/rotate": {
        parameters: {
            query?: never;
            header?: never;
            path?: never;
            cookie?: never;
        };
        get?: never;
        put?: never;
        /**
         * Put a new signing key in use: after a minute, while what was signed before holds; or at once, and what was signed before
         *     ends.
         */
        post: {
            parameters: {
                query?: never;
                header?: never;
                path?: never;
                cookie?: never;
            };
            requestBody: {
                content: {
                    "application/json": components["schemas"]["RotateSigningKey"];
                };
            };
            responses: {
                200: {
                    headers: {
                        [name: string]: unknown;
                    };
                    content: {
                        "application/json": components["schemas"]["SigningKeys"];
                    };
                };
                default: {
                    headers: {
                        [name: string]: unknown;
                    };
                    content: {
                        "application/json": components["schemas"]["ErrorBody"];
                    };
                };
            };
        };
        delete?: never;
        options?: never;
        head?: never;
        patch?: never;
        trace?: never;
    };
    "/v1/orgs": {
        parameters: {
            query?: never;
            header?: never;
            path?: never;
            cookie?: never;
        };
        get?: never;
        put?: never;
        /** Make an org and own it: the operator, or everybody where the installation is open. */
        post: {
            parameters: {
                query?: never;
                header?: never;
                path?: never;
                cookie?: never;
            };
            requestBody: {
                content: {
                    "application/json": components["schemas"]["CreateOrg"];
                };
            };
            responses: {
                201: {
                    headers: {
                        [name: string]: unknown;
                    };
                    content: {
                        "application/json": components["schemas"]["Org"];
                    };
                };
                default: {
                    headers: {
                        [name: string]: unknown;
                    };
                    content: {
                        "application/json": components["schemas"]["ErrorBody"];
                    };
                };
            };
        };
        delete?: never;
        options?: never;
        head?: never;
        patch?: never;
        trace?: never;
    };
    "/v1/orgs/{org}": {
        parameters: {
            query?: never;
            header?: never;
            path?: never;
            cookie?: never;
        };
        /** The org. */
        get: {
            parameters: {
                query?: never;
                header?: never;
                path: {
                    /** @description Org slug */
                    org: string;
                };
                cookie?: never;
            };
            requestBody?: never;
            responses: {
                200: {
                    headers: {
                        [name: string]: unknown;
                    };
                    content: {
                        "application/json": components["schemas"]["Org"];
                    };
                };
                default: {
                    headers: {
                        [name: string]: unknown;
                    };
                    content: {
                        "application/json": components["schemas"]["ErrorBody"];
                    };
                };
            };
        };
        /** Change its display name. */
        put: {
            parameters: {
                query?: never;
                header?: never;
                path: {
                    /** @description Org slug */
                    org: string;
                };
                cookie?: never;
            };
            requestBody: {
                content: {
                    "application/json": components["schemas"]["UpdateOrg"];
                };
            };
            responses: {
                200: {
                    headers: {
                        [name: string]: unknown;
                    };
                    content: {
                        "application/json": components["schemas"]["Org"];
                    };
                };
                default: {
                    headers: {
                        [name: string]: unknown;
                    };
                    content: {
                        "application/json": components["schemas"]["ErrorBody"];
                    };
                };
            };
        };
        post?: never;
        delete?: never;
        options?: never;
        head?: never;
        patch?: never;
        trace?: never;
    };
    "/v1/orgs/{org}/cap": {
        parameters: {
            query?: never;
            header?: never;
            path?: never;
            cookie?: never;
        };
        /** The organization's cap. */
        get: {
            parameters: {
                query?: never;
                header?: never;
                path: {
                    /** @description Org slug */
                    org: string;
                };
                cookie?: never;
            };
            requestBody?: never;
            responses: {
                200: {
                    headers: {
                        [name: string]: unknown;
                    };
                    content: {
                        "application/json": components["schemas"]["CapStanding"];
                    };
                };
                default: {
                    headers: {
                        [name: string]: unknown;
                    };
                    content: {
                        "application/json": components["schemas"]["ErrorBody"];
                    };
                };
            };
        };
        /** Set the organization's cap: of all its workspaces together. */
        put: {
            parameters: {
                query?: never;
                header?: never;
                path: {
                    /** @description Org slug */
                    org: string;
                };
                cookie?: never;
            };
            requestBody: {
                content: {
                    "application/json": components["schemas"]["SetCap"];
                };
            };
            responses: {
                200: {
                    headers: {
                        [name: string]: unknown;
                    };
                    content: {
                        "application/json": components["schemas"]["CapStanding"];
                    };
                };
                default: {
                    headers: {
                        [name: string]: unknown;
                    };
                    content: {
                        "application/json": components["schemas"]["ErrorBody"];
                    };
                };
            };
        };
        post?: never;
        delete?: never;
        options?: never;
        head?: never;
        patch?: never;
        trace?: never;
    };
    "/v1/orgs/{org}/cap/override": {
        parameters: {
            query?: never;
            header?: never;
            path?: never;
            cookie?: never;
        };
        get?: never;
        put?: never;
        /** Lift the stop of the organization's cap for a while, for a reason. */
        post: {
            parameters: {
                query?: never;
                header?: never;
                path: {
                    /** @description Org slug */
                    org: string;
                };
                cookie?: never;
            };
            requestBody: {
                content: {
                    "application/json": components["schemas"]["OverrideCap"];
                };
            };
            responses: {
                200: {
                    headers: {
                        [name: string]: unknown;
                    };
                    content: {
                        "application/json": components["schemas"]["CapStanding"];
                    };
                };
                default: {
                    headers: {
                        [name: string]: unknown;
                    };
                    content: {
                        "application/json": components["schemas"]["ErrorBody"];
                    };
                };
            };
        };
        /** End the override of the organization's cap. */
        delete: {
            parameters: {
                query?: never;
                header?: never;
                path: {
                    /** @description Org slug */
                    org: string;
                };
                cookie?: never;
            };
            requestBody?: never;
            responses: {
                200: {
                    headers: {
                        [name: string]: unknown;
                    };
                    content: {
                        "application/json": components["schemas"]["CapStanding"];
                    };
                };
                default: {
                    headers: {
                        [name: string]: unknown;
                    };
                    content: {
                        "application/json": components["schemas"]["ErrorBody"];
                    };
                };
            };
        };
        options?: never;
        head?: never;
        patch?: never;
        trace?: never;
    };
    "/v1/orgs/{org}/data-key/rotate": {
        parameters: {
            query?: never;
            header?: never;
            path?: never;
            cookie?: never;
        };
        get?: never;
        put?: never;
        /** Put a new data key in use for the org; what lies under the old one is sealed anew in the background. */
        post: {
            parameters: {
                query?: never;
                header?: never;
                path: {
                    /** @description Org slug */
                    org: string;
                };
                cookie?: never;
            };
            requestBody?: never;
            responses: {
                204: {
                    headers: {
                        [name: string]: unknown;
                    };
                    content?: never;
                };
                default: {
                    headers: {
                        [name: string]: unknown;
                    };
                    content: {
                        "application/json": components["schemas"]["ErrorBody"];
                    };
                };
            };
        };
        delete?: never;
        options?: never;
        head?: never;
        patch?: never;
        trace?: never;
    };
    "/v1/orgs/{org}/elevations": {
        parameters: {
            query?: never;
            header?: never;
            path?: never;
            cookie?: never;
        };
        /** Elevations of the org, newest first. */
        get: {
            parameters: {
                query?: never;
                header?: never;
                path: {
                    /** @description Org slug */
                    org: string;
                };
                cookie?: never;
            };
            requestBody?: never;
            responses: {
                200: {
                    headers: {
                        [name: string]: unknown;
                    };
                    content: {
                        "application/json": components["schemas"]["Elevations"];
                    };
                };
                default: {
                    headers: {
                        [name: string]: unknown;
                    };
                    content: {
                        "application/json": components["schemas"]["ErrorBody"];
                    };
                };
            };
        };
        put?: never;
        post?: never;
        delete?: never;
        options?: never;
        head?: never;
        patch?: never;
        trace?: never;
    };
    "/v1/orgs/{org}/elevations/{elevation}/approve": {
        parameters: {
            query?: never;
            header?: never;
            path?: never;
            cookie?: never;
        };
        get?: never;
        put?: never;
        /** Approve somebody else's request; its time box begins. */
        post: {
            parameters: {
                query?: never;
                header?: never;
                path: {
                    /** @description Org slug */
                    org: string;
                    /** @description Elevation id */
                    elevation: components["schemas"]["ElevationId"];
                };
                cookie?: never;
            };
            requestBody?: never;
            responses: {
                200: {
                    headers: {
                        [name: string]: unknown;
                    };
                    content: {
                        "application/json": components["schemas"]["Elevation"];
                    };
                };
                default: {
                    headers: {
                        [name: string]: unknown;
                    };
                    content: {
                        "application/json": components["schemas"]["ErrorBody"];
                    };
                };
            };
        };
        delete?: never;
        options?: never;
        head?: never;
        patch?: never;
        trace?: never;
    };
    "/v1/orgs/{org}/elevations/{elevation}/recording": {
        parameters: {
            query?: never;
            header?: never;
            path?: never;
            cookie?: never;
        };
        /** What an elevation's root terminals printed, in the asciicast v2 format. */
        get: {
            parameters: {
                query?: never;
                header?: never;
                path: {
                    /** @description Org slug */
                    org: string;
                    /** @description Elevation id */
                    elevation: components["schemas"]["ElevationId"];
                };
                cookie?: never;
            };
            requestBody?: never;
            responses: {
                200: {
                    headers: {
                        [name: string]: unknown;
                    };
                    content: {
                        "application/x-asciicast": string;
                    };
                };
                default: {
                    headers: {
                        [name: string]: unknown;
                    };
                    content: {
                        "application/json": components["schemas"]["ErrorBody"];
                    };
                };
            };
        };
        put?: never;
        post?: never;
        delete?: never;
        options?: never;
        head?: never;
        patch?: never;
        trace?: never;
    };
    "/v1/orgs/{org}/elevations/{elevation}/refuse": {
        parameters: {
            query?: never;
            header?: never;
            path?: never;
            cookie?: never;
        };
        get?: never;
        put?: never;
        /** Refuse somebody else's request. */
        post: {
            parameters: {
                query?: never;
                header?: never;
                path: {
                    /** @description Org slug */
                    org: string;
                    /** @description Elevation id */
                    elevation: components["schemas"]["ElevationId"];
                };
                cookie?: never;
            };
            requestBody?: never;
            responses: {
                200: {
                    headers: {
                        [name: string]: unknown;
                    };
                    content: {
                        "application/json": components["schemas"]["Elevation"];
                    };
                };
                default: {
                    headers: {
                        [name: string]: unknown;
                    };
                    content: {
                        "application/json": components["schemas"]["ErrorBody"];
                    };
                };
            };
        };
        delete?: never;
        options?: never;
        head?: never;
        patch?: never;
        trace?: never;
    };
    "/v1/orgs/{org}/elevations/{elevation}/revoke": {
        parameters: {
            query?: never;
            header?: never;
            path?: never;
            cookie?: never;
        };
        get?: never;
        put?: never;
        /** Take an elevation back: one's own, or as an approver anybody's. Its terminal ends within a second. */
        post: {
            parameters: {
                query?: never;
                header?: never;
                path: {
                    /** @description Org slug */
                    org: string;
                    /** @description Elevation id */
                    elevation: components["schemas"]["ElevationId"];
                };
                cookie?: never;
            };
            requestBody?: never;
            responses: {
                200: {
                    headers: {
                        [name: string]: unknown;
                    };
                    content: {
                        "application/json": components["schemas"]["Elevation"];
                    };
                };
                default: {
                    headers: {
                        [name: string]: unknown;
                    };
                    content: {
                        "application/json": components["schemas"]["ErrorBody"];
                    };
                };
            };
        };
        delete?: never;
        options?: never;
        head?: never;
        patch?: never;
        trace?: never;
    };
    "/v1/orgs/{org}/elevations/{elevation}/terminal": {
        parameters: {
            query?: never;
            header?: never;
            path?: never;
            cookie?: never;
        };
        /**
         * Open a root terminal of one's own elevation (WebSocket, as the shell's). It is recorded, not shared, and over with
         *     the connection.
         */
        get: {
            parameters: {
                query?: {
                    /** @description Columns, 80 when absent. */
                    cols?: number;
                    /** @description Rows, 24 when absent. */
                    rows?: number;
                };
                header?: never;
                path: {
                    /** @description Org slug */
                    org: string;
                    /** @description Elevation id */
                    elevation: components["schemas"]["ElevationId"];
                };
                cookie?: never;
            };
            requestBody?: never;
            responses: {
                /** @description The terminal */
                101: {
                    headers: {
                        [name: string]: unknown;
                    };
                    content?: never;
                };
                default: {
                    headers: {
                        [name: string]: unknown;
                    };
                    content: {
                        "application/json": components["schemas"]["ErrorBody"];
                    };
                };
            };
        };
        put?: never;
        post?: never;
        delete?: never;
        options?: never;
        head?: never;
        patch?: never;
        trace?: never;
    };
    "/v1/orgs/{org}/groups": {
        parameters: {
            query?: never;
            header?: never;
            path?: never;
            cookie?: never;
        };
        /** Groups of the org with their members. */
        get: {
            parameters: {
                query?: never;
                header?: never;
                path: {
                    /** @description Org slug */
                    org: string;
                };
                cookie?: never;
            };
            requestBody?: never;
            responses: {
                200: {
                    headers: {
                        [name: string]: unknown;
                    };
                    content: {
                        "application/json": components["schemas"]["Groups"];
                    };
                };
                default: {
                    headers: {
                        [name: string]: unknown;
                    };
                    content: {
                        "application/json": components["schemas"]["ErrorBody"];
                    };
                };
            };
        };
        put?: never;
        /** Make a group. */
        post: {
            parameters: {
                query?: never;
                header?: never;
                path: {
                    /** @description Org slug */
                    org: string;
                };
                cookie?: never;
            };
            requestBody: {
                content: {
                    "application/json": components["schemas"]["NameGroup"];
                };
            };
            responses: {
                200: {
                    headers: {
                        [name: string]: unknown;
                    };
                    content: {
                        "application/json": components["schemas"]["Groups"];
                    };
                };
                default: {
                    headers: {
                        [name: string]: unknown;
                    };
                    content: {
                        "application/json": components["schemas"]["ErrorBody"];
                    };
                };
            };
        };
        delete?: never;
        options?: never;
        head?: never;
        patch?: never;
        trace?: never;
    };
    "/v1/orgs/{org}/groups/{group}": {
        parameters: {
            query?: never;
            header?: never;
            path?: never;
            cookie?: never;
        };
        get?: never;
        /** Rename a group. */
        put: {
            parameters: {
                query?: never;
                header?: never;
                path: {
                    /** @description Org slug */
                    org: string;
                    /** @description Group name */
                    group: string;
                };
                cookie?: never;
            };
            requestBody: {
                content: {
                    "application/json": components["schemas"]["NameGroup"];
                };
            };
            responses: {
                200: {
                    headers: {
                        [name: string]: unknown;
                    };
                    content: {
                        "application/json": components["schemas"]["Groups"];
                    };
                };
                default: {
                    headers: {
                        [name: string]: unknown;
                    };
                    content: {
                        "application/json": components["schemas"]["ErrorBody"];
                    };
                };
            };
        };
        post?: never;
        /** Delete a group; projects restricted to it stay restricted. */
        delete: {
            parameters: {
                query?: never;
                header?: never;
                path: {
                    /** @description Org slug */
                    org: string;
                    /** @description Group name */
                    group: string;
                };
                cookie?: never;
            };
            requestBody?: never;
            responses: {
                204: {
                    headers: {
                        [name: string]: unknown;
                    };
                    content?: never;
                };
                default: {
                    headers: {
                        [name: string]: unknown;
                    };
                    content: {
                        "application/json": components["schemas"]["ErrorBody"];
                    };
                };
            };
        };
        options?: never;
        head?: never;
        patch?: never;
        trace?: never;
    };
    "/v1/orgs/{org}/groups/{group}/members/{user}": {
        parameters: {
            query?: never;
            header?: never;
            path?: never;
            cookie?: never;
        };
        get?: never;
        /** Put a member into a group. */
        put: {
            parameters: {
                query?: never;
                header?: never;
                path: {
                    /** @description Org slug */
                    org: string;
                    /** @description Group name */
                    group: string;
                    /** @description User id */
                    user: components["schemas"]["UserId"];
                };
                cookie?: never;
            };
            requestBody?: never;
            responses: {
                204: {
                    headers: {
                        [name: string]: unknown;
                    };
                    content?: never;
                };
                default: {
                    headers: {
                        [name: string]: unknown;
                    };
                    content: {
                        "application/json": components["schemas"]["ErrorBody"];
                    };
                };
            };
        };
        post?: never;
        /** Take a member out of a group; what is open to them through it ends within two seconds. */
        delete: {
            parameters: {
                query?: never;
                header?: never;
                path: {
                    /** @description Org slug */
                    org: string;
                    /** @description Group name */
                    group: string;
                    /** @description User id */
                    user: components["schemas"]["UserId"];
                };
                cookie?: never;
            };
            requestBody?: never;
            responses: {
                204: {
                    headers: {
                        [name: string]: unknown;
                    };
                    content?: never;
                };
                default: {
                    headers: {
                        [name: string]: unknown;
                    };
                    content: {
                        "application/json": components["schemas"]["ErrorBody"];
                    };
                };
            };
        };
        options?: never;
        head?: never;
        patch?: never;
        trace?: never;
    };
    "/v1/orgs/{org}/host-tokens": {
        parameters: {
            query?: never;
            header?: never;
            path?: never;
            cookie?: never;
        };
        get?: never;
        put?: never;
        /** Make a one-time registration token for a host. */
        post: {
            parameters: {
                query?: never;
                header?: never;
                path: {
                    /** @description Org slug */
                    org: string;
                };
                cookie?: never;
            };
            requestBody: {
                content: {
                    "application/json": components["schemas"]["CreateHostToken"];
                };
            };
            responses: {
                201: {
                    headers: {
                        [name: string]: unknown;
                    };
                    content: {
                        "application/json": components["schemas"]["CreatedHostToken"];
                    };
                };
                default: {
                    headers: {
                        [name: string]: unknown;
                    };
                    content: {
                        "application/json": components["schemas"]["ErrorBody"];
                    };
                };
            };
        };
        delete?: never;
        options?: never;
        head?: never;
        patch?: never;
        trace?: never;
    };
    "/v1/orgs/{org}/hosts": {
        parameters: {
            query?: never;
            header?: never;
            path?: never;
            cookie?: never;
        };
        /** Hosts of the org with their state and what their isolation lacks. */
        get: {
            parameters: {
                query?: never;
                header?: never;
                path: {
                    /** @description Org slug */
                    org: string;
                };
                cookie?: never;
            };
            requestBody?: never;
            responses: {
                200: {
                    headers: {
                        [name: string]: unknown;
                    };
                    content: {
                        "application/json": components["schemas"]["Hosts"];
                    };
                };
                default: {
                    headers: {
                        [name: string]: unknown;
                    };
                    content: {
                        "application/json": components["schemas"]["ErrorBody"];
                    };
                };
            };
        };
        put?: never;
        post?: never;
        delete?: never;
        options?: never;
        head?: never;
        patch?: never;
        trace?: never;
    };
    "/v1/orgs/{org}/idle-limit": {
        parameters: {
            query?: never;
            header?: never;
            path?: never;
            cookie?: never;
        };
        /** After how long without work the org's runtimes sleep at the latest. */
        get: {
            parameters: {
                query?: never;
                header?: never;
                path: {
                    /** @description Org slug */
                    org: string;
                };
                cookie?: never;
            };
            requestBody?: never;
            responses: {
                200: {
                    headers: {
                        [name: string]: unknown;
                    };
                    content: {
                        "application/json": components["schemas"]["IdleLimit"];
                    };
                };
                default: {
                    headers: {
                        [name: string]: unknown;
                    };
                    content: {
                        "application/json": components["schemas"]["ErrorBody"];
                    };
                };
            };
        };
        /** Say after how long without work the org's runtimes sleep at the latest. */
        put: {
            parameters: {
                query?: never;
                header?: never;
                path: {
                    /** @description Org slug */
                    org: string;
                };
                cookie?: never;
            };
            requestBody: {
                content: {
                    "application/json": components["schemas"]["IdleLimit"];
                };
            };
            responses: {
                200: {
                    headers: {
                        [name: string]: unknown;
                    };
                    content: {
                        "application/json": components["schemas"]["IdleLimit"];
                    };
                };
                default: {
                    headers: {
                        [name: string]: unknown;
                    };
                    content: {
                        "application/json": components["schemas"]["ErrorBody"];
                    };
                };
            };
        };
        post?: never;
        delete?: never;
        options?: never;
        head?: never;
        patch?: never;
        trace?: never;
    };
    "/v1/orgs/{org}/invitations": {
        parameters: {
            query?: never;
            header?: never;
            path?: never;
            cookie?: never;
        };
        /** Invitations, without their tokens. */
        get: {
            parameters: {
                query?: never;
                header?: never;
                path: {
                    /** @description Org slug */
                    org: string;
                };
                cookie?: never;
            };
            requestBody?: never;
            responses: {
                200: {
                    headers: {
                        [name: string]: unknown;
                    };
                    content: {
                        "application/json": components["schemas"]["Invitations"];
                    };
                };
                default: {
                    headers: {
                        [name: string]: unknown;
                    };
                    content: {
                        "application/json": components["schemas"]["ErrorBody"];
                    };
                };
            };
        };
        put?: never;
        /** Invite somebody; the token is shown only here. */
        post: {
            parameters: {
                query?: never;
                header?: never;
                path: {
                    /** @description Org slug */
                    org: string;
                };
                cookie?: never;
            };
            requestBody: {
                content: {
                    "application/json": components["schemas"]["CreateInvitation"];
                };
            };
            responses: {
                201: {
                    headers: {
                        [name: string]: unknown;
                    };
                    content: {
                        "application/json": components["schemas"]["CreatedInvitation"];
                    };
                };
                default: {
                    headers: {
                        [name: string]: unknown;
                    };
                    content: {
                        "application/json": components["schemas"]["ErrorBody"];
                    };
                };
            };
        };
        delete?: never;
        options?: never;
        head?: never;
        patch?: never;
        trace?: never;
    };
    "/v1/orgs/{org}/invitations/{invitation}": {
        parameters: {
            query?: never;
            header?: never;
            path?: never;
            cookie?: never;
        };
        get?: never;
        put?: never;
        post?: never;
        /** Revoke an invitation. */
        delete: {
            parameters: {
                query?: never;
                header?: never;
                path: {
                    /** @description Org slug */
                    org: string;
                    /** @description Invitation id */
                    invitation: components["schemas"]["InvitationId"];
                };
                cookie?: never;
            };
            requestBody?: never;
            responses: {
                204: {
                    headers: {
                        [name: string]: unknown;
                    };
                    content?: never;
                };
                default: {
                    headers: {
                        [name: string]: unknown;
                    };
                    content: {
                        "application/json": components["schemas"]["ErrorBody"];
                    };
                };
            };
        };
        options?: never;
        head?: never;
        patch?: never;
        trace?: never;
    };
    "/v1/orgs/{org}/ledger": {
        parameters: {
            query?: never;
            header?: never;
            path?: never;
            cookie?: never;
        };
        /** Search the org's ledger. */
        get: {
            parameters: {
                query?: {
                    /** @description Who, exactly: `user:user_…`, `link:link_…`, `system:idle`. */
                    actor?: string;
                    /** @description What happened: a verb such as `runtime.woken`, or the part before its dot with the dot, such as `runtime.`. */
                    verb?: string;
                    /** @description What it happened to, as an id. */
                    subject?: string;
                    /** @description Not before this time. */
                    since?: string;
                    /** @description Before this time. */
                    until?: string;
                    /** @description Which come first; the newest by default. */
                    order?: "newest" | "oldest";
                    /** @description How many at most, 1 to 500; 100 by default. */
                    limit?: number;
                    /** @description Goes on where an earlier answer ended: its `next`. */
                    cursor?: string;
                };
                header?: never;
                path: {
                    /** @description Org slug */
                    org: string;
                };
                cookie?: never;
            };
            requestBody?: never;
            responses: {
                200: {
                    headers: {
                        [name: string]: unknown;
                    };
                    content: {
                        "application/json": components["schemas"]["LedgerEvents"];
                    };
                };
                default: {
                    headers: {
                        [name: string]: unknown;
                    };
                    content: {
                        "application/json": components["schemas"]["ErrorBody"];
                    };
                };
            };
        };
        put?: never;
        post?: never;
        delete?: never;
        options?: never;
        head?: never;
        patch?: never;
        trace?: never;
    };
    "/v1/orgs/{org}/ledger/export": {
        parameters: {
            query?: never;
            header?: never;
            path?: never;
            cookie?: never;
        };
        /** Export the org's ledger: JSON lines that end with a signed checkpoint. */
        get: {
            parameters: {
                query?: never;
                header?: never;
                path: {
                    /** @description Org slug */
                    org: string;
                };
                cookie?: never;
            };
            requestBody?: never;
            responses: {
                200: {
                    headers: {
                        [name: string]: unknown;
                    };
                    content: {
                        "application/x-ndjson": string;
                    };
                };
                default: {
                    headers: {
                        [name: string]: unknown;
                    };
                    content: {
                        "application/json": components["schemas"]["ErrorBody"];
                    };
                };
            };
        };
        put?: never;
        post?: never;
        delete?: never;
        options?: never;
        head?: never;
        patch?: never;
        trace?: never;
    };
    "/v1/orgs/{org}/ledger/state": {
        parameters: {
            query?: never;
            header?: never;
            path?: never;
            cookie?: never;
        };
        /** How the org's ledger stands: head, checkpoint, how far it was verified. */
        get: {
            parameters: {
                query?: never;
                header?: never;
                path: {
                    /** @description Org slug */
                    org: string;
                };
                cookie?: never;
            };
            requestBody?: never;
            responses: {
                200: {
                    headers: {
                        [name: string]: unknown;
                    };
                    content: {
                        "application/json": components["schemas"]["LedgerState"];
                    };
                };
                default: {
                    headers: {
                        [name: string]: unknown;
                    };
                    content: {
                        "application/json": components["schemas"]["ErrorBody"];
                    };
                };
            };
        };
        put?: never;
        post?: never;
        delete?: never;
        options?: never;
        head?: never;
        patch?: never;
        trace?: never;
    };
    "/v1/orgs/{org}/links/{link}": {
        parameters: {
            query?: never;
            header?: never;
            path?: never;
            cookie?: never;
        };
        get?: never;
        put?: never;
        post?: never;
        /** Revoke a link; its sessions and open streams end within a second. */
        delete: {
            parameters: {
                query?: never;
                header?: never;
                path: {
                    /** @description Org slug */
                    org: string;
                    /** @description Link id */
                    link: components["schemas"]["LinkId"];
                };
                cookie?: never;
            };
            requestBody?: never;
            responses: {
                200: {
                    headers: {
                        [name: string]: unknown;
                    };
                    content: {
                        "application/json": components["schemas"]["Link"];
                    };
                };
                default: {
                    headers: {
                        [name: string]: unknown;
                    };
                    content: {
                        "application/json": components["schemas"]["ErrorBody"];
                    };
                };
            };
        };
        options?: never;
        head?: never;
        patch?: never;
        trace?: never;
    };
    "/v1/orgs/{org}/links/{link}/visits": {
        parameters: {
            query?: never;
            header?: never;
            path?: never;
            cookie?: never;
        };
        /** Visits through a link, newest first: who, when, what each woke and what that cost. */
        get: {
            parameters: {
                query?: {
                    /** @description Only before this one: `next` of the page before. */
                    before?: string;
                    /** @description How many; 50 when absent, at most 200. */
                    limit?: number;
                };
                header?: never;
                path: {
                    /** @description Org slug */
                    org: string;
                    /** @description Link id */
                    link: components["schemas"]["LinkId"];
                };
                cookie?: never;
            };
            requestBody?: never;
            responses: {
                200: {
                    headers: {
                        [name: string]: unknown;
                    };
                    content: {
                        "application/json": components["schemas"]["Visits"];
                    };
                };
                default: {
                    headers: {
                        [name: string]: unknown;
                    };
                    content: {
                        "application/json": components["schemas"]["ErrorBody"];
                    };
                };
            };
        };
        put?: never;
        post?: never;
        delete?: never;
        options?: never;
        head?: never;
        patch?: never;
        trace?: never;
    };
    "/v1/orgs/{org}/members": {
        parameters: {
            query?: never;
            header?: never;
            path?: never;
            cookie?: never;
        };
        /** Members with their roles and groups. */
        get: {
            parameters: {
                query?: never;
                header?: never;
                path: {
                    /** @description Org slug */
                    org: string;
                };
                cookie?: never;
            };
            requestBody?: never;
            responses: {
                200: {
                    headers: {
                        [name: string]: unknown;
                    };
                    content: {
                        "application/json": components["schemas"]["Members"];
                    };
                };
                default: {
                    headers: {
                        [name: string]: unknown;
                    };
                    content: {
                        "application/json": components["schemas"]["ErrorBody"];
                    };
                };
            };
        };
        put?: never;
        post?: never;
        delete?: never;
        options?: never;
        head?: never;
        patch?: never;
        trace?: never;
    };
    "/v1/orgs/{org}/members/{user}": {
        parameters: {
            query?: never;
            header?: never;
            path?: never;
            cookie?: never;
        };
        get?: never;
        /** Change a member's role; it holds from the next request on, and open terminals that it forbids end. */
        put: {
            parameters: {
                query?: never;
                header?: never;
                path: {
                    /** @description Org slug */
                    org: string;
                    /** @description User id */
                    user: components["schemas"]["UserId"];
                };
                cookie?: never;
            };
            requestBody: {
                content: {
                    "application/json": components["schemas"]["UpdateMember"];
                };
            };
            responses: {
                204: {
                    headers: {
                        [name: string]: unknown;
                    };
                    content?: never;
                };
                default: {
                    headers: {
                        [name: string]: unknown;
                    };
                    content: {
                        "application/json": components["schemas"]["ErrorBody"];
                    };
                };
            };
        };
        post?: never;
        /** Remove a member; removing oneself needs no right. Open terminals and live views end within two seconds. */
        delete: {
            parameters: {
                query?: never;
                header?: never;
                path: {
                    /** @description Org slug */
                    org: string;
                    /** @description User id */
                    user: components["schemas"]["UserId"];
                };
                cookie?: never;
            };
            requestBody?: never;
            responses: {
                204: {
                    headers: {
                        [name: string]: unknown;
                    };
                    content?: never;
                };
                default: {
                    headers: {
                        [name: string]: unknown;
                    };
                    content: {
                        "application/json": components["schemas"]["ErrorBody"];
                    };
                };
            };
        };
        options?: never;
        head?: never;
        patch?: never;
        trace?: never;
    };
    "/v1/orgs/{org}/projects": {
        parameters: {
            query?: never;
            header?: never;
            path?: never;
            cookie?: never;
        };
        /** Projects of the org. */
        get: {
            parameters: {
                query?: never;
                header?: never;
                path: {
                    /** @description Org slug */
                    org: string;
                };
                cookie?: never;
            };
            requestBody?: never;
            responses: {
                200: {
                    headers: {
                        [name: string]: unknown;
                    };
                    content: {
                        "application/json": components["schemas"]["Projects"];
                    };
                };
                default: {
                    headers: {
                        [name: string]: unknown;
                    };
                    content: {
                        "application/json": components["schemas"]["ErrorBody"];
                    };
                };
            };
        };
        put?: never;
        /** Create a project; the same slug and repository answer the one that exists. */
        post: {
            parameters: {
                query?: never;
                header?: never;
                path: {
                    /** @description Org slug */
                    org: string;
                };
                cookie?: never;
            };
            requestBody: {
                content: {
                    "application/json": components["schemas"]["CreateProject"];
                };
            };
            responses: {
                200: {
                    headers: {
                        [name: string]: unknown;
                    };
                    content: {
                        "application/json": components["schemas"]["Project"];
                    };
                };
                default: {
                    headers: {
                        [name: string]: unknown;
                    };
                    content: {
                        "application/json": components["schemas"]["ErrorBody"];
                    };
                };
            };
        };
        delete?: never;
        options?: never;
        head?: never;
        patch?: never;
        trace?: never;
    };
    "/v1/orgs/{org}/projects/{project}/access": {
        parameters: {
            query?: never;
            header?: never;
            path?: never;
            cookie?: never;
        };
        /** Who sees a project, beside owners and admins. */
        get: {
            parameters: {
                query?: never;
                header?: never;
                path: {
                    /** @description Org slug */
                    org: string;
                    /** @description Project slug */
                    project: string;
                };
                cookie?: never;
            };
            requestBody?: never;
            responses: {
                200: {
                    headers: {
                        [name: string]: unknown;
                    };
                    content: {
                        "application/json": components["schemas"]["ProjectAccess"];
                    };
                };
                default: {
                    headers: {
                        [name: string]: unknown;
                    };
                    content: {
                        "application/json": components["schemas"]["ErrorBody"];
                    };
                };
            };
        };
        /** Open a project to all members, or restrict it to groups; terminals and live views that may not be any more end. */
        put: {
            parameters: {
                query?: never;
                header?: never;
                path: {
                    /** @description Org slug */
                    org: string;
                    /** @description Project slug */
                    project: string;
                };
                cookie?: never;
            };
            requestBody: {
                content: {
                    "application/json": components["schemas"]["ProjectAccess"];
                };
            };
            responses: {
                200: {
                    headers: {
                        [name: string]: unknown;
                    };
                    content: {
                        "application/json": components["schemas"]["ProjectAccess"];
                    };
                };
                default: {
                    headers: {
                        [name: string]: unknown;
                    };
                    content: {
                        "application/json": components["schemas"]["ErrorBody"];
                    };
                };
            };
        };
        post?: never;
        delete?: never;
        options?: never;
        head?: never;
        patch?: never;
        trace?: never;
    };
    "/v1/orgs/{org}/projects/{project}/cap": {
        parameters: {
            query?: never;
            header?: never;
            path?: never;
            cookie?: never;
        };
        /** A project's cap. */
        get: {
            parameters: {
                query?: never;
                header?: never;
                path: {
                    /** @description Org slug */
                    org: string;
                    /** @description Project slug */
                    project: string;
                };
                cookie?: never;
            };
            requestBody?: never;
            responses: {
                200: {
                    headers: {
                        [name: string]: unknown;
                    };
                    content: {
                        "application/json": components["schemas"]["CapStanding"];
                    };
                };
                default: {
                    headers: {
                        [name: string]: unknown;
                    };
                    content: {
                        "application/json": components["schemas"]["ErrorBody"];
                    };
                };
            };
        };
        /** Set a project's cap: of all its workspaces together. */
        put: {
            parameters: {
                query?: never;
                header?: never;
                path: {
                    /** @description Org slug */
                    org: string;
                    /** @description Project slug */
                    project: string;
                };
                cookie?: never;
            };
            requestBody: {
                content: {
                    "application/json": components["schemas"]["SetCap"];
                };
            };
            responses: {
                200: {
                    headers: {
                        [name: string]: unknown;
                    };
                    content: {
                        "application/json": components["schemas"]["CapStanding"];
                    };
                };
                default: {
                    headers: {
                        [name: string]: unknown;
                    };
                    content: {
                        "application/json": components["schemas"]["ErrorBody"];
                    };
                };
            };
        };
        post?: never;
        delete?: never;
        options?: never;
        head?: never;
        patch?: never;
        trace?: never;
    };
    "/v1/orgs/{org}/projects/{project}/cap/override": {
        parameters: {
            query?: never;
            header?: never;
            path?: never;
            cookie?: never;
        };
        get?: never;
        put?: never;
        /** Lift the stop of a project's cap for a while, for a reason. */
        post: {
            parameters: {
                query?: never;
                header?: never;
                path: {
                    /** @description Org slug */
                    org: string;
                    /** @description Project slug */
                    project: string;
                };
                cookie?: never;
            };
            requestBody: {
                content: {
                    "application/json": components["schemas"]["OverrideCap"];
                };
            };
            responses: {
                200: {
                    headers: {
                        [name: string]: unknown;
                    };
                    content: {
                        "application/json": components["schemas"]["CapStanding"];
                    };
                };
                default: {
                    headers: {
                        [name: string]: unknown;
                    };
                    content: {
                        "application/json": components["schemas"]["ErrorBody"];
                    };
                };
            };
        };
        /** End the override of a project's cap. */
        delete: {
            parameters: {
                query?: never;
                header?: never;
                path: {
                    /** @description Org slug */
                    org: string;
                    /** @description Project slug */
                    project: string;
                };
                cookie?: never;
            };
            requestBody?: never;
            responses: {
                200: {
                    headers: {
                        [name: string]: unknown;
                    };
                    content: {
                        "application/json": components["schemas"]["CapStanding"];
                    };
                };
                default: {
                    headers: {
                        [name: string]: unknown;
                    };
                    content: {
                        "application/json": components["schemas"]["ErrorBody"];
                    };
                };
            };
        };
        options?: never;
        head?: never;
        patch?: never;
        trace?: never;
    };
    "/v1/orgs/{org}/projects/{project}/idle-limit": {
        parameters: {
            query?: never;
            header?: never;
            path?: never;
            cookie?: never;
        };
        /** After how long without work a project's runtimes sleep at the latest. */
        get: {
            parameters: {
                query?: never;
                header?: never;
                path: {
                    /** @description Org slug */
                    org: string;
                    /** @description Project slug */
                    project: string;
                };
                cookie?: never;
            };
            requestBody?: never;
            responses: {
                200: {
                    headers: {
                        [name: string]: unknown;
                    };
                    content: {
                        "application/json": components["schemas"]["IdleLimit"];
                    };
                };
                default: {
                    headers: {
                        [name: string]: unknown;
                    };
                    content: {
                        "application/json": components["schemas"]["ErrorBody"];
                    };
                };
            };
        };
        /** Say after how long without work a project's runtimes sleep at the latest. */
        put: {
            parameters: {
                query?: never;
                header?: never;
                path: {
                    /** @description Org slug */
                    org: string;
                    /** @description Project slug */
                    project: string;
                };
                cookie?: never;
            };
            requestBody: {
                content: {
                    "application/json": components["schemas"]["IdleLimit"];
                };
            };
            responses: {
                200: {
                    headers: {
                        [name: string]: unknown;
                    };
                    content: {
                        "application/json": components["schemas"]["IdleLimit"];
                    };
                };
                default: {
                    headers: {
                        [name: string]: unknown;
                    };
                    content: {
                        "application/json": components["schemas"]["ErrorBody"];
                    };
                };
            };
        };
        post?: never;
        delete?: never;
        options?: never;
        head?: never;
        patch?: never;
        trace?: never;
    };
    "/v1/orgs/{org}/projects/{project}/secrets": {
        parameters: {
            query?: never;
            header?: never;
            path?: never;
            cookie?: never;
        };
        get?: never;
        put?: never;
        /** Set a secret of one project. */
        post: {
            parameters: {
                query?: never;
                header?: never;
                path: {
                    /** @description Org slug */
                    org: string;
                    /** @description Project slug */
                    project: string;
                };
                cookie?: never;
            };
            requestBody: {
                content: {
                    "application/json": components["schemas"]["SetSecret"];
                };
            };
            responses: {
                200: {
                    headers: {
                        [name: string]: unknown;
                    };
                    content: {
                        "application/json": components["schemas"]["SecretInfo"];
                    };
                };
                default: {
                    headers: {
                        [name: string]: unknown;
                    };
                    content: {
                        "application/json": components["schemas"]["ErrorBody"];
                    };
                };
            };
        };
        delete?: never;
        options?: never;
        head?: never;
        patch?: never;
        trace?: never;
    };
    "/v1/orgs/{org}/quiet-hours": {
        parameters: {
            query?: never;
            header?: never;
            path?: never;
            cookie?: never;
        };
        /** The hours in which no schedule of the org wakes anything. */
        get: {
            parameters: {
                query?: never;
                header?: never;
                path: {
                    /** @description Org slug */
                    org: string;
                };
                cookie?: never;
            };
            requestBody?: never;
            responses: {
                200: {
                    headers: {
                        [name: string]: unknown;
                    };
                    content: {
                        "application/json": components["schemas"]["OrgQuietHours"];
                    };
                };
                default: {
                    headers: {
                        [name: string]: unknown;
                    };
                    content: {
                        "application/json": components["schemas"]["ErrorBody"];
                    };
                };
            };
        };
        /** Set the hours in which no schedule of the org wakes anything; visits still do. */
        put: {
            parameters: {
                query?: never;
                header?: never;
                path: {
                    /** @description Org slug */
                    org: string;
                };
                cookie?: never;
            };
            requestBody: {
                content: {
                    "application/json": components["schemas"]["OrgQuietHours"];
                };
            };
            responses: {
                200: {
                    headers: {
                        [name: string]: unknown;
                    };
                    content: {
                        "application/json": components["schemas"]["OrgQuietHours"];
                    };
                };
                default: {
                    headers: {
                        [name: string]: unknown;
                    };
                    content: {
                        "application/json": components["schemas"]["ErrorBody"];
                    };
                };
            };
        };
        post?: never;
        delete?: never;
        options?: never;
        head?: never;
        patch?: never;
        trace?: never;
    };
    "/v1/orgs/{org}/receipts": {
        parameters: {
            query?: never;
            header?: never;
            path?: never;
            cookie?: never;
        };
        /** Final receipts of sessions that ended in a month, of the projects the reader sees; as CSV all at once. */
        get: {
            parameters: {
                query?: {
                    /** @description Those of sessions that ended in this calendar month (UTC) like `2026-11`; this one when absent. */
                    month?: string;
                    /** @description `json`, or `csv` for all of them at once. */
                    format?: "json" | "csv" | "html";
                    /** @description Goes on where an earlier answer ended: its `next`. */
                    cursor?: string;
                };
                header?: never;
                path: {
                    /** @description Org slug */
                    org: string;
                };
                cookie?: never;
            };
            requestBody?: never;
            responses: {
                200: {
                    headers: {
                        [name: string]: unknown;
                    };
                    content: {
                        "application/json": components["schemas"]["MonthReceipts"];
                        "text/csv": string;
                    };
                };
                default: {
                    headers: {
                        [name: string]: unknown;
                    };
                    content: {
                        "application/json": components["schemas"]["ErrorBody"];
                    };
                };
            };
        };
        put?: never;
        post?: never;
        delete?: never;
        options?: never;
        head?: never;
        patch?: never;
        trace?: never;
    };
    "/v1/orgs/{org}/root-policy": {
        parameters: {
            query?: never;
            header?: never;
            path?: never;
            cookie?: never;
        };
        /** The org's root policy. */
        get: {
            parameters: {
                query?: never;
                header?: never;
                path: {
                    /** @description Org slug */
                    org: string;
                };
                cookie?: never;
            };
            requestBody?: never;
            responses: {
                200: {
                    headers: {
                        [name: string]: unknown;
                    };
                    content: {
                        "application/json": components["schemas"]["OrgRootPolicy"];
                    };
                };
                default: {
                    headers: {
                        [name: string]: unknown;
                    };
                    content: {
                        "application/json": components["schemas"]["ErrorBody"];
                    };
                };
            };
        };
        /** Set the root policy; another mode ends what was granted under the one before. */
        put: {
            parameters: {
                query?: never;
                header?: never;
                path: {
                    /** @description Org slug */
                    org: string;
                };
                cookie?: never;
            };
            requestBody: {
                content: {
                    "application/json": components["schemas"]["OrgRootPolicy"];
                };
            };
            responses: {
                200: {
                    headers: {
                        [name: string]: unknown;
                    };
                    content: {
                        "application/json": components["schemas"]["OrgRootPolicy"];
                    };
                };
                default: {
                    headers: {
                        [name: string]: unknown;
                    };
                    content: {
                        "application/json": components["schemas"]["ErrorBody"];
                    };
                };
            };
        };
        post?: never;
        delete?: never;
        options?: never;
        head?: never;
        patch?: never;
        trace?: never;
    };
    "/v1/orgs/{org}/secrets": {
        parameters: {
            query?: never;
            header?: never;
            path?: never;
            cookie?: never;
        };
        /** Secrets of the org, its projects and workspaces, without their values. */
        get: {
            parameters: {
                query?: never;
                header?: never;
                path: {
                    /** @description Org slug */
                    org: string;
                };
                cookie?: never;
            };
            requestBody?: never;
            responses: {
                200: {
                    headers: {
                        [name: string]: unknown;
                    };
                    content: {
                        "application/json": components["schemas"]["Secrets"];
                    };
                };
                default: {
                    headers: {
                        [name: string]: unknown;
                    };
                    content: {
                        "application/json": components["schemas"]["ErrorBody"];
                    };
                };
            };
        };
        put?: never;
        /** Set a secret of the whole org: a new one, or a new version. */
        post: {
            parameters: {
                query?: never;
                header?: never;
                path: {
                    /** @description Org slug */
                    org: string;
                };
                cookie?: never;
            };
            requestBody: {
                content: {
                    "application/json": components["schemas"]["SetSecret"];
                };
            };
            responses: {
                200: {
                    headers: {
                        [name: string]: unknown;
                    };
                    content: {
                        "application/json": components["schemas"]["SecretInfo"];
                    };
                };
                default: {
                    headers: {
                        [name: string]: unknown;
                    };
                    content: {
                        "application/json": components["schemas"]["ErrorBody"];
                    };
                };
            };
        };
        delete?: never;
        options?: never;
        head?: never;
        patch?: never;
        trace?: never;
    };
    "/v1/orgs/{org}/secrets/{secret}": {
        parameters: {
            query?: never;
            header?: never;
            path?: never;
            cookie?: never;
        };
        get?: never;
        put?: never;
        post?: never;
        /** Remove a secret with all its versions; one of the org or a project asks for `secret.manage`. */
        delete: {
            parameters: {
                query?: never;
                header?: never;
                path: {
                    /** @description Org slug */
                    org: string;
                    /** @description Secret id */
                    secret: components["schemas"]["SecretId"];
                };
                cookie?: never;
            };
            requestBody?: never;
            responses: {
                200: {
                    headers: {
                        [name: string]: unknown;
                    };
                    content: {
                        "application/json": components["schemas"]["SecretInfo"];
                    };
                };
                default: {
                    headers: {
                        [name: string]: unknown;
                    };
                    content: {
                        "application/json": components["schemas"]["ErrorBody"];
                    };
                };
            };
        };
        options?: never;
        head?: never;
        patch?: never;
        trace?: never;
    };
    "/v1/orgs/{org}/secrets/{secret}/restore": {
        parameters: {
            query?: never;
            header?: never;
            path?: never;
            cookie?: never;
        };
        get?: never;
        put?: never;
        /** Make an older version's value the newest version; one of the org or a project asks for `secret.manage`. */
        post: {
            parameters: {
                query?: never;
                header?: never;
                path: {
                    /** @description Org slug */
                    org: string;
                    /** @description Secret id */
                    secret: components["schemas"]["SecretId"];
                };
                cookie?: never;
            };
            requestBody: {
                content: {
                    "application/json": components["schemas"]["RestoreSecret"];
                };
            };
            responses: {
                200: {
                    headers: {
                        [name: string]: unknown;
                    };
                    content: {
                        "application/json": components["schemas"]["SecretInfo"];
                    };
                };
                default: {
                    headers: {
                        [name: string]: unknown;
                    };
                    content: {
                        "application/json": components["schemas"]["ErrorBody"];
                    };
                };
            };
        };
        delete?: never;
        options?: never;
        head?: never;
        patch?: never;
        trace?: never;
    };
    "/v1/orgs/{org}/secrets/{secret}/versions": {
        parameters: {
            query?: never;
            header?: never;
            path?: never;
            cookie?: never;
        };
        /** The versions of a secret that are kept, without their values. */
        get: {
            parameters: {
                query?: never;
                header?: never;
                path: {
                    /** @description Org slug */
                    org: string;
                    /** @description Secret id */
                    secret: components["schemas"]["SecretId"];
                };
                cookie?: never;
            };
            requestBody?: never;
            responses: {
                200: {
                    headers: {
                        [name: string]: unknown;
                    };
                    content: {
                        "application/json": components["schemas"]["SecretVersions"];
                    };
                };
                default: {
                    headers: {
                        [name: string]: unknown;
                    };
                    content: {
                        "application/json": components["schemas"]["ErrorBody"];
                    };
                };
            };
        };
        put?: never;
        post?: never;
        delete?: never;
        options?: never;
        head?: never;
        patch?: never;
        trace?: never;
    };
    "/v1/orgs/{org}/settings": {
        parameters: {
            query?: never;
            header?: never;
            path?: never;
            cookie?: never;
        };
        /** Settings of the org. */
        get: {
            parameters: {
                query?: never;
                header?: never;
                path: {
                    /** @description Org slug */
                    org: string;
                };
                cookie?: never;
            };
            requestBody?: never;
            responses: {
                200: {
                    headers: {
                        [name: string]: unknown;
                    };
                    content: {
                        "application/json": components["schemas"]["Settings"];
                    };
                };
                default: {
                    headers: {
                        [name: string]: unknown;
                    };
                    content: {
                        "application/json": components["schemas"]["ErrorBody"];
                    };
                };
            };
        };
        put?: never;
        post?: never;
        delete?: never;
        options?: never;
        head?: never;
        patch?: never;
        trace?: never;
    };
    "/v1/orgs/{org}/settings/{setting}": {
        parameters: {
            query?: never;
            header?: never;
            path?: never;
            cookie?: never;
        };
        /** A setting of the org, without its secrets. */
        get: {
            parameters: {
                query?: never;
                header?: never;
                path: {
                    /** @description Org slug */
                    org: string;
                    /**
                     * @description Name of the setting
                     * @example object_storage
                     */
                    setting: string;
                };
                cookie?: never;
            };
            requestBody?: never;
            responses: {
                200: {
                    headers: {
                        [name: string]: unknown;
                    };
                    content: {
                        "application/json": components["schemas"]["Setting"];
                    };
                };
                default: {
                    headers: {
                        [name: string]: unknown;
                    };
                    content: {
                        "application/json": components["schemas"]["ErrorBody"];
                    };
                };
            };
        };
        /** Change a setting of the org; every change is kept as a version. */
        put: {
            parameters: {
                query?: never;
                header?: never;
                path: {
                    /** @description Org slug */
                    org: string;
                    /**
                     * @description Name of the setting
                     * @example object_storage
                     */
                    setting: string;
                };
                cookie?: never;
            };
            requestBody: {
                content: {
                    "application/json": components["schemas"]["ChangeSetting"];
                };
            };
            responses: {
                200: {
                    headers: {
                        [name: string]: unknown;
                    };
                    content: {
                        "application/json": components["schemas"]["Setting"];
                    };
                };
                default: {
                    headers: {
                        [name: string]: unknown;
                    };
                    content: {
                        "application/json": components["schemas"]["ErrorBody"];
                    };
                };
            };
        };
        post?: never;
        /** Take a setting of the org out of force; its history stays. */
        delete: {
            parameters: {
                query?: never;
                header?: never;
                path: {
                    /** @description Org slug */
                    org: string;
                    /**
                     * @description Name of the setting
                     * @example object_storage
                     */
                    setting: string;
                };
                cookie?: never;
            };
            requestBody?: never;
            responses: {
                200: {
                    headers: {
                        [name: string]: unknown;
                    };
                    content: {
                        "application/json": components["schemas"]["Setting"];
                    };
                };
                default: {
                    headers: {
                        [name: string]: unknown;
                    };
                    content: {
                        "application/json": components["schemas"]["ErrorBody"];
                    };
                };
            };
        };
        options?: never;
        head?: never;
        patch?: never;
        trace?: never;
    };
    "/v1/orgs/{org}/settings/{setting}/restore": {
        parameters: {
            query?: never;
            header?: never;
            path?: never;
            cookie?: never;
        };
        get?: never;
        put?: never;
        /** Make an earlier version of a setting of the org the newest again. */
        post: {
            parameters: {
                query?: never;
                header?: never;
                path: {
                    /** @description Org slug */
                    org: string;
                    /**
                     * @description Name of the setting
                     * @example object_storage
                     */
                    setting: string;
                };
                cookie?: never;
            };
            requestBody: {
                content: {
                    "application/json": components["schemas"]["RestoreSetting"];
                };
            };
            responses: {
                200: {
                    headers: {
                        [name: string]: unknown;
                    };
                    content: {
                        "application/json": components["schemas"]["Setting"];
                    };
                };
                default: {
                    headers: {
                        [name: string]: unknown;
                    };
                    content: {
                        "application/json": components["schemas"]["ErrorBody"];
                    };
                };
            };
        };
        delete?: never;
        options?: never;
        head?: never;
        patch?: never;
        trace?: never;
    };
    "/v1/orgs/{org}/settings/{setting}/versions": {
        parameters: {
            query?: never;
            header?: never;
            path?: never;
            cookie?: never;
        };
        /** The versions of a setting of the org and how they differ. */
        get: {
            parameters: {
                query?: never;
                header?: never;
                path: {
                    /** @description Org slug */
                    org: string;
                    /**
                     * @description Name of the setting
                     * @example object_storage
                     */
                    setting: string;
                };
                cookie?: never;
            };
            requestBody?: never;
            responses: {
                200: {
                    headers: {
                        [name: string]: unknown;
                    };
                    content: {
                        "application/json": components["schemas"]["SettingVersions"];
                    };
                };
                default: {
                    headers: {
                        [name: string]: unknown;
                    };
                    content: {
                        "application/json": components["schemas"]["ErrorBody"];
                    };
                };
            };
        };
        put?: never;
        post?: never;
        delete?: never;
        options?: never;
        head?: never;
        patch?: never;
        trace?: never;
    };
    "/v1/orgs/{org}/terminal-policy": {
        parameters: {
            query?: never;
            header?: never;
            path?: never;
            cookie?: never;
        };
        /** Whether the org's terminals are recorded. */
        get: {
            parameters: {
                query?: never;
                header?: never;
                path: {
                    /** @description Org slug */
                    org: string;
                };
                cookie?: never;
            };
            requestBody?: never;
            responses: {
                200: {
                    headers: {
                        [name: string]: unknown;
                    };
                    content: {
                        "application/json": components["schemas"]["OrgTerminalPolicy"];
                    };
                };
                default: {
                    headers: {
                        [name: string]: unknown;
                    };
                    content: {
                        "application/json": components["schemas"]["ErrorBody"];
                    };
                };
            };
        };
        /** Say whether terminals that are opened from now on are recorded. */
        put: {
            parameters: {
                query?: never;
                header?: never;
                path: {
                    /** @description Org slug */
                    org: string;
                };
                cookie?: never;
            };
            requestBody: {
                content: {
                    "application/json": components["schemas"]["OrgTerminalPolicy"];
                };
            };
            responses: {
                200: {
                    headers: {
                        [name: string]: unknown;
                    };
                    content: {
                        "application/json": components["schemas"]["OrgTerminalPolicy"];
                    };
                };
                default: {
                    headers: {
                        [name: string]: unknown;
                    };
                    content: {
                        "application/json": components["schemas"]["ErrorBody"];
                    };
                };
            };
        };
        post?: never;
        delete?: never;
        options?: never;
        head?: never;
        patch?: never;
        trace?: never;
    };
    "/v1/orgs/{org}/usage": {
        parameters: {
            query?: never;
            header?: never;
            path?: never;
            cookie?: never;
        };
        /** What each workspace used in a month, what that costs, and the sums. */
        get: {
            parameters: {
                query?: {
                    /** @description A calendar month (UTC) like `2026-11`; this one when absent. */
                    month?: string | null;
                };
                header?: never;
                path: {
                    /** @description Org slug */
                    org: string;
                };
                cookie?: never;
            };
            requestBody?: never;
            responses: {
                200: {
                    headers: {
                        [name: string]: unknown;
                    };
                    content: {
                        "application/json": components["schemas"]["OrgUsage"];
                    };
                };
                default: {
                    headers: {
                        [name: string]: unknown;
                    };
                    content: {
                        "application/json": components["schemas"]["ErrorBody"];
                    };
                };
            };
        };
        put?: never;
        post?: never;
        delete?: never;
        options?: never;
        head?: never;
        patch?: never;
        trace?: never;
    };
    "/v1/orgs/{org}/workspaces": {
        parameters: {
            query?: never;
            header?: never;
            path?: never;
            cookie?: never;
        };
        /** Workspaces of the org. */
        get: {
            parameters: {
                query?: never;
                header?: never;
                path: {
                    /** @description Org slug */
                    org: string;
                };
                cookie?: never;
            };
            requestBody?: never;
            responses: {
                200: {
                    headers: {
                        [name: string]: unknown;
                    };
                    content: {
                        "application/json": components["schemas"]["Workspaces"];
                    };
                };
                default: {
                    headers: {
                        [name: string]: unknown;
                    };
                    content: {
                        "application/json": components["schemas"]["ErrorBody"];
                    };
                };
            };
        };
        put?: never;
        /** Create a workspace, or get the one of this branch. */
        post: {
            parameters: {
                query?: never;
                header?: never;
                path: {
                    /** @description Org slug */
                    org: string;
                };
                cookie?: never;
            };
            requestBody: {
                content: {
                    "application/json": components["schemas"]["CreateWorkspace"];
                };
            };
            responses: {
                200: {
                    headers: {
                        [name: string]: unknown;
                    };
                    content: {
                        "application/json": components["schemas"]["Workspace"];
                    };
                };
                default: {
                    headers: {
                        [name: string]: unknown;
                    };
                    content: {
                        "application/json": components["schemas"]["ErrorBody"];
                    };
                };
            };
        };
        delete?: never;
        options?: never;
        head?: never;
        patch?: never;
        trace?: never;
    };
    "/v1/orgs/{org}/workspaces/{workspace}": {
        parameters: {
            query?: never;
            header?: never;
            path?: never;
            cookie?: never;
        };
        /** One workspace with the readiness of all its parts. */
        get: {
            parameters: {
                query?: never;
                header?: never;
                path: {
                    /** @description Org slug */
                    org: string;
                    /** @description Workspace slug */
                    workspace: string;
                };
                cookie?: never;
            };
            requestBody?: never;
            responses: {
                200: {
                    headers: {
                        [name: string]: unknown;
                    };
                    content: {
                        "application/json": components["schemas"]["Workspace"];
                    };
                };
                default: {
                    headers: {
                        [name: string]: unknown;
                    };
                    content: {
                        "application/json": components["schemas"]["ErrorBody"];
                    };
                };
            };
        };
        put?: never;
        post?: never;
        /** Delete a workspace with its checkout, databases and links. */
        delete: {
            parameters: {
                query?: never;
                header?: never;
                path: {
                    /** @description Org slug */
                    org: string;
                    /** @description Workspace slug */
                    workspace: string;
                };
                cookie?: never;
            };
            requestBody?: never;
            responses: {
                202: {
                    headers: {
                        [name: string]: unknown;
                    };
                    content?: never;
                };
                default: {
                    headers: {
                        [name: string]: unknown;
                    };
                    content: {
                        "application/json": components["schemas"]["ErrorBody"];
                    };
                };
            };
        };
        options?: never;
        head?: never;
        patch?: never;
        trace?: never;
    };
    "/v1/orgs/{org}/workspaces/{workspace}/cap": {
        parameters: {
            query?: never;
            header?: never;
            path?: never;
            cookie?: never;
        };
        /** The caps that a workspace counts against: its own, its project's, the organization's, and the link's that woke it. */
        get: {
            parameters: {
                query?: never;
                header?: never;
                path: {
                    /** @description Org slug */
                    org: string;
                    /** @description Workspace slug */
                    workspace: string;
                };
                cookie?: never;
            };
            requestBody?: never;
            responses: {
                200: {
                    headers: {
                        [name: string]: unknown;
                    };
                    content: {
                        "application/json": components["schemas"]["WorkspaceCaps"];
                    };
                };
                default: {
                    headers: {
                        [name: string]: unknown;
                    };
                    content: {
                        "application/json": components["schemas"]["ErrorBody"];
                    };
                };
            };
        };
        /** Set a workspace's cap on awake minutes or money a month. */
        put: {
            parameters: {
                query?: never;
                header?: never;
                path: {
                    /** @description Org slug */
                    org: string;
                    /** @description Workspace slug */
                    workspace: string;
                };
                cookie?: never;
            };
            requestBody: {
                content: {
                    "application/json": components["schemas"]["SetCap"];
                };
            };
            responses: {
                200: {
                    headers: {
                        [name: string]: unknown;
                    };
                    content: {
                        "application/json": components["schemas"]["WorkspaceUsage"];
                    };
                };
                default: {
                    headers: {
                        [name: string]: unknown;
                    };
                    content: {
                        "application/json": components["schemas"]["ErrorBody"];
                    };
                };
            };
        };
        post?: never;
        delete?: never;
        options?: never;
        head?: never;
        patch?: never;
        trace?: never;
    };
    "/v1/orgs/{org}/workspaces/{workspace}/cap/override": {
        parameters: {
            query?: never;
            header?: never;
            path?: never;
            cookie?: never;
        };
        get?: never;
        put?: never;
        /** Lift the stop of a workspace's cap for a while, for a reason. */
        post: {
            parameters: {
                query?: never;
                header?: never;
                path: {
                    /** @description Org slug */
                    org: string;
                    /** @description Workspace slug */
                    workspace: string;
                };
                cookie?: never;
            };
            requestBody: {
                content: {
                    "application/json": components["schemas"]["OverrideCap"];
                };
            };
            responses: {
                200: {
                    headers: {
                        [name: string]: unknown;
                    };
                    content: {
                        "application/json": components["schemas"]["CapStanding"];
                    };
                };
                default: {
                    headers: {
                        [name: string]: unknown;
                    };
                    content: {
                        "application/json": components["schemas"]["ErrorBody"];
                    };
                };
            };
        };
        /** End the override of a workspace's cap. */
        delete: {
            parameters: {
                query?: never;
                header?: never;
                path: {
                    /** @description Org slug */
                    org: string;
                    /** @description Workspace slug */
                    workspace: string;
                };
                cookie?: never;
            };
            requestBody?: never;
            responses: {
                200: {
                    headers: {
                        [name: string]: unknown;
                    };
                    content: {
                        "application/json": components["schemas"]["CapStanding"];
                    };
                };
                default: {
                    headers: {
                        [name: string]: unknown;
                    };
                    content: {
                        "application/json": components["schemas"]["ErrorBody"];
                    };
                };
            };
        };
        options?: never;
        head?: never;
        patch?: never;
        trace?: never;
    };
    "/v1/orgs/{org}/workspaces/{workspace}/database/dump": {
        parameters: {
            query?: never;
            header?: never;
            path?: never;
            cookie?: never;
        };
        /**
         * Dump the workspace's database, in pg_dump's custom format. Only while the runtime is awake, which this does not change. An
         *     answer that breaks off is no whole dump.
         */
        get: {
            parameters: {
                query?: never;
                header?: never;
                path: {
                    /** @description Org slug */
                    org: string;
                    /** @description Workspace slug */
                    workspace: string;
                };
                cookie?: never;
            };
            requestBody?: never;
            responses: {
                200: {
                    headers: {
                        [name: string]: unknown;
                    };
                    content: {
                        "application/octet-stream": string;
                    };
                };
                default: {
                    headers: {
                        [name: string]: unknown;
                    };
                    content: {
                        "application/json": components["schemas"]["ErrorBody"];
                    };
                };
            };
        };
        put?: never;
        post?: never;
        delete?: never;
        options?: never;
        head?: never;
        patch?: never;
        trace?: never;
    };
    "/v1/orgs/{org}/workspaces/{workspace}/database/query": {
        parameters: {
            query?: never;
            header?: never;
            path?: never;
            cookie?: never;
        };
        get?: never;
        put?: never;
        /** Ask a workspace's database, which reads and changes nothing; refused while the runtime is asleep, and nothing is woken for it. */
        post: {
            parameters: {
                query?: never;
                header?: never;
                path: {
                    /** @description Org slug */
                    org: string;
                    /** @description Workspace slug */
                    workspace: string;
                };
                cookie?: never;
            };
            requestBody: {
                content: {
                    "application/json": components["schemas"]["QueryDatabase"];
                };
            };
            responses: {
                200: {
                    headers: {
                        [name: string]: unknown;
                    };
                    content: {
                        "application/json": components["schemas"]["DatabaseRows"];
                    };
                };
                default: {
                    headers: {
                        [name: string]: unknown;
                    };
                    content: {
                        "application/json": components["schemas"]["ErrorBody"];
                    };
                };
            };
        };
        delete?: never;
        options?: never;
        head?: never;
        patch?: never;
        trace?: never;
    };
    "/v1/orgs/{org}/workspaces/{workspace}/database/restore": {
        parameters: {
            query?: never;
            header?: never;
            path?: never;
            cookie?: never;
        };
        get?: never;
        put?: never;
        /**
         * Make the workspace's database what a dump in pg_dump's custom format holds, all of it or nothing. Only while the runtime is
         *     awake, which this does not change. Who is connected to the database is cut off when it changes.
         */
        post: {
            parameters: {
                query?: never;
                header?: never;
                path: {
                    /** @description Org slug */
                    org: string;
                    /** @description Workspace slug */
                    workspace: string;
                };
                cookie?: never;
            };
            /** @description The dump */
            requestBody: {
                content: {
                    "application/octet-stream": string;
                };
            };
            responses: {
                200: {
                    headers: {
                        [name: string]: unknown;
                    };
                    content: {
                        "application/json": components["schemas"]["Restored"];
                    };
                };
                default: {
                    headers: {
                        [name: string]: unknown;
                    };
                    content: {
                        "application/json": components["schemas"]["ErrorBody"];
                    };
                };
            };
        };
        delete?: never;
        options?: never;
        head?: never;
        patch?: never;
        trace?: never;
    };
    "/v1/orgs/{org}/workspaces/{workspace}/elevations": {
        parameters: {
            query?: never;
            header?: never;
            path?: never;
            cookie?: never;
        };
        get?: never;
        put?: never;
        /** Ask for root in a workspace. */
        post: {
            parameters: {
                query?: never;
                header?: never;
                path: {
                    /** @description Org slug */
                    org: string;
                    /** @description Workspace slug */
                    workspace: string;
                };
                cookie?: never;
            };
            requestBody: {
                content: {
                    "application/json": components["schemas"]["CreateElevation"];
                };
            };
            responses: {
                201: {
                    headers: {
                        [name: string]: unknown;
                    };
                    content: {
                        "application/json": components["schemas"]["Elevation"];
                    };
                };
                default: {
                    headers: {
                        [name: string]: unknown;
                    };
                    content: {
                        "application/json": components["schemas"]["ErrorBody"];
                    };
                };
            };
        };
        delete?: never;
        options?: never;
        head?: never;
        patch?: never;
        trace?: never;
    };
    "/v1/orgs/{org}/workspaces/{workspace}/events": {
        parameters: {
            query?: never;
            header?: never;
            path?: never;
            cookie?: never;
        };
        /** The workspace, again each time it changes (server-sent events; the first is the present state). */
        get: {
            parameters: {
                query?: never;
                header?: never;
                path: {
                    /** @description Org slug */
                    org: string;
                    /** @description Workspace slug */
                    workspace: string;
                };
                cookie?: never;
            };
            requestBody?: never;
            responses: {
                200: {
                    headers: {
                        [name: string]: unknown;
                    };
                    content: {
                        "text/event-stream": components["schemas"]["WorkspaceChanged"];
                    };
                };
                default: {
                    headers: {
                        [name: string]: unknown;
                    };
                    content: {
                        "application/json": components["schemas"]["ErrorBody"];
                    };
                };
            };
        };
        put?: never;
        post?: never;
        delete?: never;
        options?: never;
        head?: never;
        patch?: never;
        trace?: never;
    };
    "/v1/orgs/{org}/workspaces/{workspace}/exec": {
        parameters: {
            query?: never;
            header?: never;
            path?: never;
            cookie?: never;
        };
        /**
         * Run a command in the shell layer (WebSocket: each binary frame is a frame of `envforge_api::exec`; the first says what
         *     to run). It ends with the connection, and a client says something, if only a ping, at least every 45 seconds.
         */
        get: {
            parameters: {
                query?: never;
                header?: never;
                path: {
                    /** @description Org slug */
                    org: string;
                    /** @description Workspace slug */
                    workspace: string;
                };
                cookie?: never;
            };
            requestBody?: never;
            responses: {
                /** @description The command */
                101: {
                    headers: {
                        [name: string]: unknown;
                    };
                    content?: never;
                };
                default: {
                    headers: {
                        [name: string]: unknown;
                    };
                    content: {
                        "application/json": components["schemas"]["ErrorBody"];
                    };
                };
            };
        };
        put?: never;
        post?: never;
        delete?: never;
        options?: never;
        head?: never;
        patch?: never;
        trace?: never;
    };
    "/v1/orgs/{org}/workspaces/{workspace}/forks": {
        parameters: {
            query?: never;
            header?: never;
            path?: never;
            cookie?: never;
        };
        get?: never;
        put?: never;
        /** Make copies of a workspace, or get those that exist. */
        post: {
            parameters: {
                query?: never;
                header?: never;
                path: {
                    /** @description Org slug */
                    org: string;
                    /** @description Workspace slug */
                    workspace: string;
                };
                cookie?: never;
            };
            requestBody: {
                content: {
                    "application/json": components["schemas"]["ForkWorkspace"];
                };
            };
            responses: {
                200: {
                    headers: {
                        [name: string]: unknown;
                    };
                    content: {
                        "application/json": components["schemas"]["ForkedWorkspaces"];
                    };
                };
                default: {
                    headers: {
                        [name: string]: unknown;
                    };
                    content: {
                        "application/json": components["schemas"]["ErrorBody"];
                    };
                };
            };
        };
        delete?: never;
        options?: never;
        head?: never;
        patch?: never;
        trace?: never;
    };
    "/v1/orgs/{org}/workspaces/{workspace}/links": {
        parameters: {
            query?: never;
            header?: never;
            path?: never;
            cookie?: never;
        };
        /** Links of a workspace, without their tokens. */
        get: {
            parameters: {
                query?: never;
                header?: never;
                path: {
                    /** @description Org slug */
                    org: string;
                    /** @description Workspace slug */
                    workspace: string;
                };
                cookie?: never;
            };
            requestBody?: never;
            responses: {
                200: {
                    headers: {
                        [name: string]: unknown;
                    };
                    content: {
                        "application/json": components["schemas"]["Links"];
                    };
                };
                default: {
                    headers: {
                        [name: string]: unknown;
                    };
                    content: {
                        "application/json": components["schemas"]["ErrorBody"];
                    };
                };
            };
        };
        put?: never;
        /** Issue a signed link; its token is shown only here. */
        post: {
            parameters: {
                query?: never;
                header?: never;
                path: {
                    /** @description Org slug */
                    org: string;
                    /** @description Workspace slug */
                    workspace: string;
                };
                cookie?: never;
            };
            requestBody: {
                content: {
                    "application/json": components["schemas"]["CreateLink"];
                };
            };
            responses: {
                201: {
                    headers: {
                        [name: string]: unknown;
                    };
                    content: {
                        "application/json": components["schemas"]["CreatedLink"];
                    };
                };
                default: {
                    headers: {
                        [name: string]: unknown;
                    };
                    content: {
                        "application/json": components["schemas"]["ErrorBody"];
                    };
                };
            };
        };
        delete?: never;
        options?: never;
        head?: never;
        patch?: never;
        trace?: never;
    };
    "/v1/orgs/{org}/workspaces/{workspace}/logs/{service}": {
        parameters: {
            query?: never;
            header?: never;
            path?: never;
            cookie?: never;
        };
        /** Captured log lines of a service, also while it sleeps; `setup` is the setup hook's. */
        get: {
            parameters: {
                query?: {
                    /**
                     * @description Lines from the end to begin with, of those that are wanted; when absent, 200 of a service's log that is not searched,
                     *     else all.
                     */
                    tail?: number;
                    /** @description Keep sending what is appended. */
                    follow?: boolean;
                    /**
                     * @description Only lines in which this regular expression is found, without time and stream; `(?i)` before it ignores case. At most
                     *     1024 bytes.
                     */
                    grep?: string;
                    /** @description Only lines that were not written before this time. */
                    since?: string;
                };
                header?: never;
                path: {
                    /** @description Org slug */
                    org: string;
                    /** @description Workspace slug */
                    workspace: string;
                    /** @description Service */
                    service: string;
                };
                cookie?: never;
            };
            requestBody?: never;
            responses: {
                200: {
                    headers: {
                        [name: string]: unknown;
                    };
                    content: {
                        "text/plain": string;
                    };
                };
                default: {
                    headers: {
                        [name: string]: unknown;
                    };
                    content: {
                        "application/json": components["schemas"]["ErrorBody"];
                    };
                };
            };
        };
        put?: never;
        post?: never;
        delete?: never;
        options?: never;
        head?: never;
        patch?: never;
        trace?: never;
    };
    "/v1/orgs/{org}/workspaces/{workspace}/mail": {
        parameters: {
            query?: never;
            header?: never;
            path?: never;
            cookie?: never;
        };
        /** Messages in a workspace's mail sink, the newest first, also while it sleeps. */
        get: {
            parameters: {
                query?: {
                    /** @description Only messages older than this one. */
                    before?: components["schemas"]["MailId"];
                    /** @description At most so many, 100 when absent, up to 1000. */
                    limit?: number;
                };
                header?: never;
                path: {
                    /** @description Org slug */
                    org: string;
                    /** @description Workspace slug */
                    workspace: string;
                };
                cookie?: never;
            };
            requestBody?: never;
            responses: {
                200: {
                    headers: {
                        [name: string]: unknown;
                    };
                    content: {
                        "application/json": components["schemas"]["Mails"];
                    };
                };
                default: {
                    headers: {
                        [name: string]: unknown;
                    };
                    content: {
                        "application/json": components["schemas"]["ErrorBody"];
                    };
                };
            };
        };
        put?: never;
        post?: never;
        delete?: never;
        options?: never;
        head?: never;
        patch?: never;
        trace?: never;
    };
    "/v1/orgs/{org}/workspaces/{workspace}/mail/{mail}": {
        parameters: {
            query?: never;
            header?: never;
            path?: never;
            cookie?: never;
        };
        /** A message, read: headers, text, the source of its HTML, what is attached. */
        get: {
            parameters: {
                query?: never;
                header?: never;
                path: {
                    /** @description Org slug */
                    org: string;
                    /** @description Workspace slug */
                    workspace: string;
                    /** @description Message id */
                    mail: components["schemas"]["MailId"];
                };
                cookie?: never;
            };
            requestBody?: never;
            responses: {
                200: {
                    headers: {
                        [name: string]: unknown;
                    };
                    content: {
                        "application/json": components["schemas"]["Mail"];
                    };
                };
                default: {
                    headers: {
                        [name: string]: unknown;
                    };
                    content: {
                        "application/json": components["schemas"]["ErrorBody"];
                    };
                };
            };
        };
        put?: never;
        post?: never;
        delete?: never;
        options?: never;
        head?: never;
        patch?: never;
        trace?: never;
    };
    "/v1/orgs/{org}/workspaces/{workspace}/mail/{mail}/raw": {
        parameters: {
            query?: never;
            header?: never;
            path?: never;
            cookie?: never;
        };
        /** A message as it was sent, as a file to save. */
        get: {
            parameters: {
                query?: never;
                header?: never;
                path: {
                    /** @description Org slug */
                    org: string;
                    /** @description Workspace slug */
                    workspace: string;
                    /** @description Message id */
                    mail: components["schemas"]["MailId"];
                };
                cookie?: never;
            };
            requestBody?: never;
            responses: {
                200: {
                    headers: {
                        [name: string]: unknown;
                    };
                    content: {
                        "application/octet-stream": string;
                    };
                };
                default: {
                    headers: {
                        [name: string]: unknown;
                    };
                    content: {
                        "application/json": components["schemas"]["ErrorBody"];
                    };
                };
            };
        };
        put?: never;
        post?: never;
        delete?: never;
        options?: never;
        head?: never;
        patch?: never;
        trace?: never;
    };
    "/v1/orgs/{org}/workspaces/{workspace}/objects": {
        parameters: {
            query?: never;
            header?: never;
            path?: never;
            cookie?: never;
        };
        /** The buckets of a workspace's object storage, also while it sleeps. */
        get: {
            parameters: {
                query?: never;
                header?: never;
                path: {
                    /** @description Org slug */
                    org: string;
                    /** @description Workspace slug */
                    workspace: string;
                };
                cookie?: never;
            };
            requestBody?: never;
            responses: {
                200: {
                    headers: {
                        [name: string]: unknown;
                    };
                    content: {
                        "application/json": components["schemas"]["Buckets"];
                    };
                };
                default: {
                    headers: {
                        [name: string]: unknown;
                    };
                    content: {
                        "application/json": components["schemas"]["ErrorBody"];
                    };
                };
            };
        };
        put?: never;
        post?: never;
        delete?: never;
        options?: never;
        head?: never;
        patch?: never;
        trace?: never;
    };
    "/v1/orgs/{org}/workspaces/{workspace}/objects/{bucket}": {
        parameters: {
            query?: never;
            header?: never;
            path?: never;
            cookie?: never;
        };
        /** Objects of a bucket, by key. */
        get: {
            parameters: {
                query?: {
                    /** @description Only keys that begin so. */
                    prefix?: string;
                    /** @description Only keys behind this one. */
                    after?: string;
                    /** @description At most so many, 100 when absent, up to 1000. */
                    limit?: number;
                };
                header?: never;
                path: {
                    /** @description Org slug */
                    org: string;
                    /** @description Workspace slug */
                    workspace: string;
                    /** @description Bucket */
                    bucket: string;
                };
                cookie?: never;
            };
            requestBody?: never;
            responses: {
                200: {
                    headers: {
                        [name: string]: unknown;
                    };
                    content: {
                        "application/json": components["schemas"]["Objects"];
                    };
                };
                default: {
                    headers: {
                        [name: string]: unknown;
                    };
                    content: {
                        "application/json": components["schemas"]["ErrorBody"];
                    };
                };
            };
        };
        put?: never;
        post?: never;
        delete?: never;
        options?: never;
        head?: never;
        patch?: never;
        trace?: never;
    };
    "/v1/orgs/{org}/workspaces/{workspace}/objects/{bucket}/content": {
        parameters: {
            query?: never;
            header?: never;
            path?: never;
            cookie?: never;
        };
        /** An object's content, as a file to save. */
        get: {
            parameters: {
                query: {
                    /** @description The object's key. */
                    key: string;
                };
                header?: never;
                path: {
                    /** @description Org slug */
                    org: string;
                    /** @description Workspace slug */
                    workspace: string;
                    /** @description Bucket */
                    bucket: string;
                };
                cookie?: never;
            };
            requestBody?: never;
            responses: {
                200: {
                    headers: {
                        [name: string]: unknown;
                    };
                    content: {
                        "application/octet-stream": string;
                    };
                };
                default: {
                    headers: {
                        [name: string]: unknown;
                    };
                    content: {
                        "application/json": components["schemas"]["ErrorBody"];
                    };
                };
            };
        };
        put?: never;
        post?: never;
        delete?: never;
        options?: never;
        head?: never;
        patch?: never;
        trace?: never;
    };
    "/v1/orgs/{org}/workspaces/{workspace}/receipts": {
        parameters: {
            query?: never;
            header?: never;
            path?: never;
            cookie?: never;
        };
        /** Receipts of a workspace, newest first. */
        get: {
            parameters: {
                query?: {
                    /** @description How many at most, 1 to 200; 20 by default. */
                    limit?: number;
                    /** @description Goes on where an earlier answer ended: its `next`. */
                    cursor?: string;
                };
                header?: never;
                path: {
                    /** @description Org slug */
                    org: string;
                    /** @description Workspace slug */
                    workspace: string;
                };
                cookie?: never;
            };
            requestBody?: never;
            responses: {
                200: {
                    headers: {
                        [name: string]: unknown;
                    };
                    content: {
                        "application/json": components["schemas"]["Receipts"];
                    };
                };
                default: {
                    headers: {
                        [name: string]: unknown;
                    };
                    content: {
                        "application/json": components["schemas"]["ErrorBody"];
                    };
                };
            };
        };
        put?: never;
        post?: never;
        delete?: never;
        options?: never;
        head?: never;
        patch?: never;
        trace?: never;
    };
    "/v1/orgs/{org}/workspaces/{workspace}/receipts/{session}": {
        parameters: {
            query?: never;
            header?: never;
            path?: never;
            cookie?: never;
        };
        /** The receipt of a usage session: JSON, or with `format`, an ending (`.html`, `.csv`) or `Accept` as a page or CSV. */
        get: {
            parameters: {
                query?: {
                    /** @description The form; else what `Accept` prefers, JSON by default. */
                    format?: "json" | "csv" | "html";
                };
                header?: never;
                path: {
                    /** @description Org slug */
                    org: string;
                    /** @description Workspace slug */
                    workspace: string;
                    /** @description Usage session id */
                    session: string;
                };
                cookie?: never;
            };
            requestBody?: never;
            responses: {
                200: {
                    headers: {
                        [name: string]: unknown;
                    };
                    content: {
                        "application/json": components["schemas"]["KeptReceipt"];
                        "text/csv": string;
                        "text/html": string;
                    };
                };
                default: {
                    headers: {
                        [name: string]: unknown;
                    };
                    content: {
                        "application/json": components["schemas"]["ErrorBody"];
                    };
                };
            };
        };
        put?: never;
        post?: never;
        delete?: never;
        options?: never;
        head?: never;
        patch?: never;
        trace?: never;
    };
    "/v1/orgs/{org}/workspaces/{workspace}/recordings": {
        parameters: {
            query?: never;
            header?: never;
            path?: never;
            cookie?: never;
        };
        /** The recordings of a workspace's terminals, the newest first, at most 200; also while it sleeps. */
        get: {
            parameters: {
                query?: never;
                header?: never;
                path: {
                    /** @description Org slug */
                    org: string;
                    /** @description Workspace slug */
                    workspace: string;
                };
                cookie?: never;
            };
            requestBody?: never;
            responses: {
                200: {
                    headers: {
                        [name: string]: unknown;
                    };
                    content: {
                        "application/json": components["schemas"]["TerminalRecordings"];
                    };
                };
                default: {
                    headers: {
                        [name: string]: unknown;
                    };
                    content: {
                        "application/json": components["schemas"]["ErrorBody"];
                    };
                };
            };
        };
        put?: never;
        post?: never;
        delete?: never;
        options?: never;
        head?: never;
        patch?: never;
        trace?: never;
    };
    "/v1/orgs/{org}/workspaces/{workspace}/recordings/{recording}": {
        parameters: {
            query?: never;
            header?: never;
            path?: never;
            cookie?: never;
        };
        /** What a terminal's client was shown, in the asciicast v2 format. */
        get: {
            parameters: {
                query?: never;
                header?: never;
                path: {
                    /** @description Org slug */
                    org: string;
                    /** @description Workspace slug */
                    workspace: string;
                    /** @description Recording id */
                    recording: components["schemas"]["RecordingId"];
                };
                cookie?: never;
            };
            requestBody?: never;
            responses: {
                200: {
                    headers: {
                        [name: string]: unknown;
                    };
                    content: {
                        "application/x-asciicast": string;
                    };
                };
                default: {
                    headers: {
                        [name: string]: unknown;
                    };
                    content: {
                        "application/json": components["schemas"]["ErrorBody"];
                    };
                };
            };
        };
        put?: never;
        post?: never;
        delete?: never;
        options?: never;
        head?: never;
        patch?: never;
        trace?: never;
    };
    "/v1/orgs/{org}/workspaces/{workspace}/resources/{resource}/rotate": {
        parameters: {
            query?: never;
            header?: never;
            path?: never;
            cookie?: never;
        };
        get?: never;
        put?: never;
        /**
         * Make a new password or key of a resource. Answered once its host refuses the one from before. Services that take an input of
         *     it are started again with the new one; a runtime that sleeps is not woken, and has it at its next wake. Redis and mail have
         *     none.
         */
        post: {
            parameters: {
                query?: never;
                header?: never;
                path: {
                    /** @description Org slug */
                    org: string;
                    /** @description Workspace slug */
                    workspace: string;
                    /** @description Kind, as in envforge.yml: postgres or object_storage */
                    resource: string;
                };
                cookie?: never;
            };
            requestBody?: never;
            responses: {
                200: {
                    headers: {
                        [name: string]: unknown;
                    };
                    content: {
                        "application/json": components["schemas"]["RotatedCredential"];
                    };
                };
                default: {
                    headers: {
                        [name: string]: unknown;
                    };
                    content: {
                        "application/json": components["schemas"]["ErrorBody"];
                    };
                };
            };
        };
        delete?: never;
        options?: never;
        head?: never;
        patch?: never;
        trace?: never;
    };
    "/v1/orgs/{org}/workspaces/{workspace}/runs": {
        parameters: {
            query?: never;
            header?: never;
            path?: never;
            cookie?: never;
        };
        get?: never;
        put?: never;
        /** Run a test or job in the runtime layer, waking it. */
        post: {
            parameters: {
                query?: never;
                header?: never;
                path: {
                    /** @description Org slug */
                    org: string;
                    /** @description Workspace slug */
                    workspace: string;
                };
                cookie?: never;
            };
            requestBody: {
                content: {
                    "application/json": components["schemas"]["CreateRun"];
                };
            };
            responses: {
                201: {
                    headers: {
                        [name: string]: unknown;
                    };
                    content: {
                        "application/json": components["schemas"]["Run"];
                    };
                };
                default: {
                    headers: {
                        [name: string]: unknown;
                    };
                    content: {
                        "application/json": components["schemas"]["ErrorBody"];
                    };
                };
            };
        };
        delete?: never;
        options?: never;
        head?: never;
        patch?: never;
        trace?: never;
    };
    "/v1/orgs/{org}/workspaces/{workspace}/runs/{run}": {
        parameters: {
            query?: never;
            header?: never;
            path?: never;
            cookie?: never;
        };
        /** One run with its state and exit code. */
        get: {
            parameters: {
                query?: never;
                header?: never;
                path: {
                    /** @description Org slug */
                    org: string;
                    /** @description Workspace slug */
                    workspace: string;
                    /** @description Job id */
                    run: components["schemas"]["JobId"];
                };
                cookie?: never;
            };
            requestBody?: never;
            responses: {
                200: {
                    headers: {
                        [name: string]: unknown;
                    };
                    content: {
                        "application/json": components["schemas"]["Run"];
                    };
                };
                default: {
                    headers: {
                        [name: string]: unknown;
                    };
                    content: {
                        "application/json": components["schemas"]["ErrorBody"];
                    };
                };
            };
        };
        put?: never;
        post?: never;
        delete?: never;
        options?: never;
        head?: never;
        patch?: never;
        trace?: never;
    };
    "/v1/orgs/{org}/workspaces/{workspace}/runs/{run}/logs": {
        parameters: {
            query?: never;
            header?: never;
            path?: never;
            cookie?: never;
        };
        /** Captured output of a run. */
        get: {
            parameters: {
                query?: {
                    /**
                     * @description Lines from the end to begin with, of those that are wanted; when absent, 200 of a service's log that is not searched,
                     *     else all.
                     */
                    tail?: number;
                    /** @description Keep sending what is appended. */
                    follow?: boolean;
                    /**
                     * @description Only lines in which this regular expression is found, without time and stream; `(?i)` before it ignores case. At most
                     *     1024 bytes.
                     */
                    grep?: string;
                    /** @description Only lines that were not written before this time. */
                    since?: string;
                };
                header?: never;
                path: {
                    /** @description Org slug */
                    org: string;
                    /** @description Workspace slug */
                    workspace: string;
                    /** @description Job id */
                    run: components["schemas"]["JobId"];
                };
                cookie?: never;
            };
            requestBody?: never;
            responses: {
                200: {
                    headers: {
                        [name: string]: unknown;
                    };
                    content: {
                        "text/plain": string;
                    };
                };
                default: {
                    headers: {
                        [name: string]: unknown;
                    };
                    content: {
                        "application/json": components["schemas"]["ErrorBody"];
                    };
                };
            };
        };
        put?: never;
        post?: never;
        delete?: never;
        options?: never;
        head?: never;
        patch?: never;
        trace?: never;
    };
    "/v1/orgs/{org}/workspaces/{workspace}/schedule": {
        parameters: {
            query?: never;
            header?: never;
            path?: never;
            cookie?: never;
        };
        /** When a workspace wakes and sleeps by itself. */
        get: {
            parameters: {
                query?: never;
                header?: never;
                path: {
                    /** @description Org slug */
                    org: string;
                    /** @description Workspace slug */
                    workspace: string;
                };
                cookie?: never;
            };
            requestBody?: never;
            responses: {
                200: {
                    headers: {
                        [name: string]: unknown;
                    };
                    content: {
                        "application/json": components["schemas"]["WorkspaceSchedule"];
                    };
                };
                default: {
                    headers: {
                        [name: string]: unknown;
                    };
                    content: {
                        "application/json": components["schemas"]["ErrorBody"];
                    };
                };
            };
        };
        /** Say when a workspace wakes and sleeps by itself, instead of what was said before. */
        put: {
            parameters: {
                query?: never;
                header?: never;
                path: {
                    /** @description Org slug */
                    org: string;
                    /** @description Workspace slug */
                    workspace: string;
                };
                cookie?: never;
            };
            requestBody: {
                content: {
                    "application/json": components["schemas"]["SetSchedule"];
                };
            };
            responses: {
                200: {
                    headers: {
                        [name: string]: unknown;
                    };
                    content: {
                        "application/json": components["schemas"]["WorkspaceSchedule"];
                    };
                };
                default: {
                    headers: {
                        [name: string]: unknown;
                    };
                    content: {
                        "application/json": components["schemas"]["ErrorBody"];
                    };
                };
            };
        };
        post?: never;
        delete?: never;
        options?: never;
        head?: never;
        patch?: never;
        trace?: never;
    };
    "/v1/orgs/{org}/workspaces/{workspace}/secrets": {
        parameters: {
            query?: never;
            header?: never;
            path?: never;
            cookie?: never;
        };
        get?: never;
        put?: never;
        /** Set a secret of one workspace. */
        post: {
            parameters: {
                query?: never;
                header?: never;
                path: {
                    /** @description Org slug */
                    org: string;
                    /** @description Workspace slug */
                    workspace: string;
                };
                cookie?: never;
            };
            requestBody: {
                content: {
                    "application/json": components["schemas"]["SetSecret"];
                };
            };
            responses: {
                200: {
                    headers: {
                        [name: string]: unknown;
                    };
                    content: {
                        "application/json": components["schemas"]["SecretInfo"];
                    };
                };
                default: {
                    headers: {
                        [name: string]: unknown;
                    };
                    content: {
                        "application/json": components["schemas"]["ErrorBody"];
                    };
                };
            };
        };
        delete?: never;
        options?: never;
        head?: never;
        patch?: never;
        trace?: never;
    };
    "/v1/orgs/{org}/workspaces/{workspace}/services/{service}": {
        parameters: {
            query?: never;
            header?: never;
            path?: never;
            cookie?: never;
        };
        get?: never;
        put?: never;
        /** Start, stop or restart a service. Answered once its host has begun. */
        post: {
            parameters: {
                query?: never;
                header?: never;
                path: {
                    /** @description Org slug */
                    org: string;
                    /** @description Workspace slug */
                    workspace: string;
                    /** @description Name in envforge.yml */
                    service: string;
                };
                cookie?: never;
            };
            requestBody: {
                content: {
                    "application/json": components["schemas"]["ChangeService"];
                };
            };
            responses: {
                200: {
                    headers: {
                        [name: string]: unknown;
                    };
                    content: {
                        "application/json": components["schemas"]["Workspace"];
                    };
                };
                default: {
                    headers: {
                        [name: string]: unknown;
                    };
                    content: {
                        "application/json": components["schemas"]["ErrorBody"];
                    };
                };
            };
        };
        delete?: never;
        options?: never;
        head?: never;
        patch?: never;
        trace?: never;
    };
    "/v1/orgs/{org}/workspaces/{workspace}/sleep": {
        parameters: {
            query?: never;
            header?: never;
            path?: never;
            cookie?: never;
        };
        get?: never;
        put?: never;
        /** Put a runtime to sleep: billing stops, the shell stays, links can wake it later. */
        post: {
            parameters: {
                query?: never;
                header?: never;
                path: {
                    /** @description Org slug */
                    org: string;
                    /** @description Workspace slug */
                    workspace: string;
                };
                cookie?: never;
            };
            requestBody: {
                content: {
                    "application/json": components["schemas"]["Sleep"];
                };
            };
            responses: {
                200: {
                    headers: {
                        [name: string]: unknown;
                    };
                    content: {
                        "application/json": components["schemas"]["Workspace"];
                    };
                };
                default: {
                    headers: {
                        [name: string]: unknown;
                    };
                    content: {
                        "application/json": components["schemas"]["ErrorBody"];
                    };
                };
            };
        };
        delete?: never;
        options?: never;
        head?: never;
        patch?: never;
        trace?: never;
    };
    "/v1/orgs/{org}/workspaces/{workspace}/terminal": {
        parameters: {
            query?: never;
            header?: never;
            path?: never;
            cookie?: never;
        };
        /** Attach to a terminal of the workspace's shell (WebSocket: binary frames are the terminal, text frames its control). */
        get: {
            parameters: {
                query?: {
                    /** @description The terminal's name, `main` when absent; one that is not there is made. */
                    terminal?: string;
                    /** @description Columns, 80 when absent. */
                    cols?: number;
                    /** @description Rows, 24 when absent. */
                    rows?: number;
                    /** @description That the terminal is to outlive its connection for about a minute; its first frame says what it is resumed with. */
                    resumable?: boolean;
                    /** @description Resume this one instead of attaching anew. */
                    resume?: string;
                    /** @description How many bytes of its output were received; with `resume` alone. */
                    received?: number;
                };
                header?: never;
                path: {
                    /** @description Org slug */
                    org: string;
                    /** @description Workspace slug */
                    workspace: string;
                };
                cookie?: never;
            };
            requestBody?: never;
            responses: {
                /** @description The terminal */
                101: {
                    headers: {
                        [name: string]: unknown;
                    };
                    content?: never;
                };
                default: {
                    headers: {
                        [name: string]: unknown;
                    };
                    content: {
                        "application/json": components["schemas"]["ErrorBody"];
                    };
                };
            };
        };
        put?: never;
        post?: never;
        delete?: never;
        options?: never;
        head?: never;
        patch?: never;
        trace?: never;
    };
    "/v1/orgs/{org}/workspaces/{workspace}/terminals": {
        parameters: {
            query?: never;
            header?: never;
            path?: never;
            cookie?: never;
        };
        /** The terminals of the workspace's shell. */
        get: {
            parameters: {
                query?: never;
                header?: never;
                path: {
                    /** @description Org slug */
                    org: string;
                    /** @description Workspace slug */
                    workspace: string;
                };
                cookie?: never;
            };
            requestBody?: never;
            responses: {
                200: {
                    headers: {
                        [name: string]: unknown;
                    };
                    content: {
                        "application/json": components["schemas"]["Terminals"];
                    };
                };
                default: {
                    headers: {
                        [name: string]: unknown;
                    };
                    content: {
                        "application/json": components["schemas"]["ErrorBody"];
                    };
                };
            };
        };
        put?: never;
        post?: never;
        delete?: never;
        options?: never;
        head?: never;
        patch?: never;
        trace?: never;
    };
    "/v1/orgs/{org}/workspaces/{workspace}/terminals/{terminal}": {
        parameters: {
            query?: never;
            header?: never;
            path?: never;
            cookie?: never;
        };
        get?: never;
        put?: never;
        post?: never;
        /** End a terminal, for everybody attached to it; answers with those that are left. */
        delete: {
            parameters: {
                query?: never;
                header?: never;
                path: {
                    /** @description Org slug */
                    org: string;
                    /** @description Workspace slug */
                    workspace: string;
                    /** @description Its name */
                    terminal: string;
                };
                cookie?: never;
            };
            requestBody?: never;
            responses: {
                200: {
                    headers: {
                        [name: string]: unknown;
                    };
                    content: {
                        "application/json": components["schemas"]["Terminals"];
                    };
                };
                default: {
                    headers: {
                        [name: string]: unknown;
                    };
                    content: {
                        "application/json": components["schemas"]["ErrorBody"];
                    };
                };
            };
        };
        options?: never;
        head?: never;
        patch?: never;
        trace?: never;
    };
    "/v1/orgs/{org}/workspaces/{workspace}/usage": {
        parameters: {
            query?: never;
            header?: never;
            path?: never;
            cookie?: never;
        };
        /** Usage, cap posture, estimate and receipts. */
        get: {
            parameters: {
                query?: never;
                header?: never;
                path: {
                    /** @description Org slug */
                    org: string;
                    /** @description Workspace slug */
                    workspace: string;
                };
                cookie?: never;
            };
            requestBody?: never;
            responses: {
                200: {
                    headers: {
                        [name: string]: unknown;
                    };
                    content: {
                        "application/json": components["schemas"]["WorkspaceUsage"];
                    };
                };
                default: {
                    headers: {
                        [name: string]: unknown;
                    };
                    content: {
                        "application/json": components["schemas"]["ErrorBody"];
                    };
                };
            };
        };
        put?: never;
        post?: never;
        delete?: never;
        options?: never;
        head?: never;
        patch?: never;
        trace?: never;
    };
    "/v1/orgs/{org}/workspaces/{workspace}/wake": {
        parameters: {
            query?: never;
            header?: never;
            path?: never;
            cookie?: never;
        };
        get?: never;
        put?: never;
        /**
         * Wake a runtime. Of one that is awake or waking, what is blocked is started again with `envforge.yml` as it is now; if nothing
         *     is blocked, it is left as it is.
         */
        post: {
            parameters: {
                query?: never;
                header?: never;
                path: {
                    /** @description Org slug */
                    org: string;
                    /** @description Workspace slug */
                    workspace: string;
                };
                cookie?: never;
            };
            requestBody: {
                content: {
                    "application/json": components["schemas"]["Wake"];
                };
            };
            responses: {
                200: {
                    headers: {
                        [name: string]: unknown;
                    };
                    content: {
                        "application/json": components["schemas"]["Workspace"];
                    };
                };
                default: {
                    headers: {
                        [name: string]: unknown;
                    };
                    content: {
                        "application/json": components["schemas"]["ErrorBody"];
                    };
                };
            };
        };
        delete?: never;
        options?: never;
        head?: never;
        patch?: never;
        trace?: never;
    };
    "/v1/orgs/{org}/workspaces/{workspace}/why": {
        parameters: {
            query?: never;
            header?: never;
            path?: never;
            cookie?: never;
        };
        /** Why a runtime is awake or asleep, what holds it, and when it will sleep. */
        get: {
            parameters: {
                query?: never;
                header?: never;
                path: {
                    /** @description Org slug */
                    org: string;
                    /** @description Workspace slug */
                    workspace: string;
                };
                cookie?: never;
            };
            requestBody?: never;
            responses: {
                200: {
                    headers: {
                        [name: string]: unknown;
                    };
                    content: {
                        "application/json": components["schemas"]["Why"];
                    };
                };
                default: {
                    headers: {
                        [name: string]: unknown;
                    };
                    content: {
                        "application/json": components["schemas"]["ErrorBody"];
                    };
                };
            };
        };
        put?: never;
        post?: never;
        delete?: never;
        options?: never;
        head?: never;
        patch?: never;
        trace?: never;
    };
    "/v1/orgs/{org}/workspaces/{workspace}/why/replay": {
        parameters: {
            query?: never;
            header?: never;
            path?: never;
            cookie?: never;
        };
        /** What another idle policy would have made of the past days. */
        get: {
            parameters: {
                query?: {
                    /** @description Seconds without work before a sleep; as in force when absent. */
                    freeze_after?: number;
                    /** @description Processor time in a minute, in milliseconds, up to which services do nothing; as in force when absent. */
                    cpu?: number;
                    /** @description Days, at most 28; 14 when absent. */
                    days?: number;
                };
                header?: never;
                path: {
                    /** @description Org slug */
                    org: string;
                    /** @description Workspace slug */
                    workspace: string;
                };
                cookie?: never;
            };
            requestBody?: never;
            responses: {
                200: {
                    headers: {
                        [name: string]: unknown;
                    };
                    content: {
                        "application/json": components["schemas"]["Replayed"];
                    };
                };
                default: {
                    headers: {
                        [name: string]: unknown;
                    };
                    content: {
                        "application/json": components["schemas"]["ErrorBody"];
                    };
                };
            };
        };
        put?: never;
        post?: never;
        delete?: never;
        options?: never;
        head?: never;
        patch?: never;
        trace?: never;
    };
    "/v1/ready": {
        parameters: {
            query?: never;
            header?: never;
            path?: never;
            cookie?: never;
        };
        /** Whether requests should come here: the database answers and fits, the ledger is sealed, and no drain has begun. */
        get: {
            parameters: {
                query?: never;
                header?: never;
                path?: never;
                cookie?: never;
            };
            requestBody?: never;
            responses: {
                200: {
                    headers: {
                        [name: string]: unknown;
                    };
                    content: {
                        "application/json": components["schemas"]["Ready"];
                    };
                };
                default: {
                    headers: {
                        [name: string]: unknown;
                    };
                    content: {
                        "application/json": components["schemas"]["ErrorBody"];
                    };
                };
            };
        };
        put?: never;
        post?: never;
        delete?: never;
        options?: never;
        head?: never;
        patch?: never;
        trace?: never;
    };
    "/v1/sessions": {
        parameters: {
            query?: never;
            header?: never;
            path?: never;
            cookie?: never;
        };
        /** My sessions in browsers. */
        get: {
            parameters: {
                query?: never;
                header?: never;
                path?: never;
                cookie?: never;
            };
            requestBody?: never;
            responses: {
                200: {
                    headers: {
                        [name: string]: unknown;
                    };
                    content: {
                        "application/json": components["schemas"]["LoginSessions"];
                    };
                };
                default: {
                    headers: {
                        [name: string]: unknown;
                    };
                    content: {
                        "application/json": components["schemas"]["ErrorBody"];
                    };
                };
            };
        };
        put?: never;
        post?: never;
        delete?: never;
        options?: never;
        head?: never;
        patch?: never;
        trace?: never;
    };
    "/v1/sessions/{session}": {
        parameters: {
            query?: never;
            header?: never;
            path?: never;
            cookie?: never;
        };
        get?: never;
        put?: never;
        post?: never;
        /** End a session of mine; its open streams end within a second or two. */
        delete: {
            parameters: {
                query?: never;
                header?: never;
                path: {
                    /** @description Session id */
                    session: components["schemas"]["LoginSessionId"];
                };
                cookie?: never;
            };
            requestBody?: never;
            responses: {
                204: {
                    headers: {
                        [name: string]: unknown;
                    };
                    content?: never;
                };
                default: {
                    headers: {
                        [name: string]: unknown;
                    };
                    content: {
                        "application/json": components["schemas"]["ErrorBody"];
                    };
                };
            };
        };
        options?: never;
        head?: never;
        patch?: never;
        trace?: never;
    };
    "/v1/sign-in/mail": {
        parameters: {
            query?: never;
            header?: never;
            path?: never;
            cookie?: never;
        };
        get?: never;
        put?: never;
        /** Send a link to sign in with, if the address may; the answer is the same either way. */
        post: {
            parameters: {
                query?: never;
                header?: never;
                path?: never;
                cookie?: never;
            };
            requestBody: {
                content: {
                    "application/json": components["schemas"]["SignInByMail"];
                };
            };
            responses: {
                202: {
                    headers: {
                        [name: string]: unknown;
                    };
                    content: {
                        "application/json": components["schemas"]["MailUnderWay"];
                    };
                };
                default: {
                    headers: {
                        [name: string]: unknown;
                    };
                    content: {
                        "application/json": components["schemas"]["ErrorBody"];
                    };
                };
            };
        };
        delete?: never;
        options?: never;
        head?: never;
        patch?: never;
        trace?: never;
    };
    "/v1/sign-in/providers": {
        parameters: {
            query?: never;
            header?: never;
            path?: never;
            cookie?: never;
        };
        /** How one may sign in here. */
        get: {
            parameters: {
                query?: never;
                header?: never;
                path?: never;
                cookie?: never;
            };
            requestBody?: never;
            responses: {
                200: {
                    headers: {
                        [name: string]: unknown;
                    };
                    content: {
                        "application/json": components["schemas"]["SignInProviders"];
                    };
                };
                default: {
                    headers: {
                        [name: string]: unknown;
                    };
                    content: {
                        "application/json": components["schemas"]["ErrorBody"];
                    };
                };
            };
        };
        put?: never;
        post?: never;
        delete?: never;
        options?: never;
        head?: never;
        patch?: never;
        trace?: never;
    };
}
export type webhooks = Record<string, never>;
export interface components {
    schemas: {
        /** @description Accepts an invitation. */
        AcceptInvitation: {
            /** @description Not signed in: what people will call the user that is made. */
            name?: string | null;
            /** @description Its token. */
            token: string;
        };
        /** @description What accepting made. */
        AcceptedInvitation: {
            api_key?: components["schemas"]["FirstKey"] | null;
            /** @description The org. */
            org: components["schemas"]["OrgId"];
            /** @description One's role. */
            role: components["schemas"]["Role"];
            /** @description Its slug. */
            slug: components["schemas"]["Slug"];
            /** @description Who one is. */
            user: components["schemas"]["UserId"];
        };
        /** @description Root that somebody has in a workspace now. */
        ActiveElevation: {
            /** @description Whose it is. */
            by: string;
            /** @description The elevation. */
            id: components["schemas"]["ElevationId"];
            /** @description Whether a root terminal was opened. */
            opened: boolean;
            /** @description End of the time box. */
            until: string;
        };
        /** @description A signed statement that everything up to a position was pruned, but the meter's events. */
        Anchor: {
            /** @description Whatever was pruned is older than this, which is in whole milliseconds. */
            before: string;
            /** @description Its hash: what comes after is linked to it. */
            hash: string;
            /**
             * Format: int64
             * @description How many events of the meter are left of the pruned ones.
             */
            kept: number;
            /** @description Head of the chain of those alone. */
            kept_hash: string;
            /** @description The key that signed it. */
            key: string;
            org?: components["schemas"]["OrgId"] | null;
            /**
             * Format: int64
             * @description The last position that was pruned.
             */
            position: number;
            /** @description The signature over the other fields. */
            signature: string;
        };
        /** @description An API key, without its value. */
        ApiKey: {
            /** @description When it was made. */
            created_at: string;
            /** @description When it ends. */
            expires_at?: string | null;
            /** @description The key. */
            id: components["schemas"]["ApiKeyId"];
            /** @description When it was last used, to the minute. */
            last_used_at?: string | null;
            /** @description What it is for. */
            name: string;
            /** @description Its first characters, to recognize it by. */
            prefix: string;
            /** @description What it is limited to; empty is no limit. */
            scopes: string[];
        };
        /** @description An API key. */
        ApiKeyId: string;
        /** @description One's API keys. */
        ApiKeys: {
            /** @description Newest first. */
            api_keys: components["schemas"]["ApiKey"][];
        };
        /** @description One metered interval. */
        AwakeWindow: {
            /** @description When it closed; absent while it is open. */
            closed_at?: string | null;
            /** @description Why it ended. */
            end_cause?: string | null;
            /** @description When it opened. */
            opened_at: string;
            /** @description The usage session around it. */
            session: components["schemas"]["UsageSessionId"];
            /** @description The size billed. */
            size: components["schemas"]["Size"];
            /**
             * Format: int64
             * @description Seconds that could not be proven and are not billed.
             */
            unproven_seconds: number;
            /** @description What woke it. */
            wake_cause: string;
            /** @description The window. */
            window: components["schemas"]["WindowId"];
        };
        /** @description A background job. */
        BackgroundJob: {
            /** @description What to do it with: references, never secrets. */
            arguments: Record<string, never>;
            /**
             * Format: int32
             * @description Attempts so far, with the one under way.
             */
            attempt: number;
            /** @description Whether it was asked to end and has not yet. */
            cancelling: boolean;
            /** @description When it was enqueued. */
            created_at: string;
            /** @description Why the last attempt failed, or why it waits. */
            error?: string | null;
            /** @description When it was finished. */
            finished_at?: string | null;
            /** @description The job. */
            id: components["schemas"]["BackgroundJobId"];
            /** @description What it does. */
            kind: string;
            /**
             * Format: int32
             * @description Most attempts.
             */
            max_attempts: number;
            org?: components["schemas"]["OrgId"] | null;
            /**
             * Format: int32
             * @description Larger runs first.
             */
            priority: number;
            /** @description Its queue. */
            queue: components["schemas"]["Queue"];
            /** @description When it is due. */
            run_at: string;
            /** @description When the last attempt began. */
            started_at?: string | null;
            /** @description How far it is. */
            state: components["schemas"]["JobState"];
            /** @description At most one job of this kind and org with this key is not finished. */
            unique_key?: string | null;
        };
        /** @description A background job of the control plane. */
        BackgroundJobId: string;
        /** @description A page of jobs. */
        BackgroundJobs: {
            /** @description Newest first. */
            jobs: components["schemas"]["BackgroundJob"][];
            next?: components["schemas"]["BackgroundJobId"] | null;
        };
        /** @description What an organization pays for a month. */
        Bill: {
            /**
             * Format: int64
             * @description What of it is free.
             */
            credit_micros: number;
            /**
             * Format: int64
             * @description What the month costs at least.
             */
            minimum_micros: number;
            /**
             * Format: int64
             * @description What is to be paid: used less credit, at least the minimum.
             */
            total_micros: number;
            /**
             * Format: int64
             * @description What was used, in micro-units.
             */
            used_micros: number;
        };
        /** @description The buckets of an object storage. */
        Buckets: {
            /** @description Their names, in order. */
            buckets: string[];
        };
        /** @description A cap on awake minutes, or on money, per calendar month (UTC). */
        Cap: {
            /**
             * Format: int32
             * @description How many minutes jobs that run when it stops may go on; 10 when absent.
             */
            grace_minutes?: number;
            /**
             * Format: int64
             * @description Cost a month in micro-units of the currency; absent when it is in minutes.
             */
            micros?: number | null;
            /**
             * Format: int64
             * @description Awake minutes a month; 0 when it is in money.
             */
            minutes?: number;
            /** @description None, warn or stop. */
            mode: components["schemas"]["CapMode"];
            /**
             * Format: int32
             * @description Percent of it from which it warns, 1 to 100; 80 when absent.
             */
            warn_at?: number;
        };
        /**
         * @description Whose a cap is.
         * @enum {string}
         */
        CapLevel: "workspace" | "project" | "organization" | "link";
        /**
         * @description What happens at a cap.
         * @enum {string}
         */
        CapMode: "none" | "warn" | "stop";
        /** @description Where usage stands against a cap. */
        CapPosture: {
            /** @enum {string} */
            posture: "none";
        } | {
            /**
             * Format: int64
             * @description Percent used.
             */
            percent: number;
            /** @enum {string} */
            posture: "within";
        } | {
            /**
             * Format: int64
             * @description Percent used.
             */
            percent: number;
            /** @enum {string} */
            posture: "warning";
        } | {
            /**
             * Format: int64
             * @description Percent used.
             */
            percent: number;
            /** @enum {string} */
            posture: "stopped";
        };
        /** @description A cap, and where this month's usage stands against it. */
        CapStanding: {
            /**
             * Format: int64
             * @description Seconds awake that count; absent for whoever does not see all of them.
             */
            awake_seconds?: number | null;
            /** @description The cap. */
            cap: components["schemas"]["Cap"];
            /**
             * Format: int64
             * @description What they cost, in micro-units of the currency; the same.
             */
            cost_micros?: number | null;
            /** @description ISO 4217 code. */
            currency: string;
            /** @description Whose it is. */
            level: components["schemas"]["CapLevel"];
            /** @description The workspace, project or organization by name; the link by id. */
            name: string;
            overridden?: components["schemas"]["GivenOverride"] | null;
            posture?: components["schemas"]["CapPosture"] | null;
        };
        /** @description Starts, stops or restarts a service; a runtime that sleeps is woken for it. */
        ChangeService: {
            /** @description What is to happen. */
            action: components["schemas"]["ServiceAction"];
        };
        /** @description Changes a setting. */
        ChangeSetting: {
            /**
             * Format: int64
             * @description The version the change was made from; when another is there by now, nothing is changed.
             */
            from_version?: number | null;
            /** @description Why, for the history and the ledger. */
            reason: string;
            /** @description The fields to set; `null` takes one away, others stay as they are. */
            values: {
                [key: string]: unknown;
            };
        };
        /** @description One thing looked at. */
        Check: {
            /** @description Stable, dotted code of what is not fine. */
            code?: string | null;
            /** @description What helps. */
            fix?: string | null;
            /** @description What was found, in a sentence. */
            found: string;
            /** @description What. */
            name: string;
            /** @description How it ended. */
            verdict: components["schemas"]["Verdict"];
        };
        /** @description A signed statement about the head of a chain. */
        Checkpoint: {
            /** @description When it was signed, in whole milliseconds. */
            at: string;
            /** @description Hash of the head. */
            hash: string;
            /** @description The key that signed it. */
            key: string;
            org?: components["schemas"]["OrgId"] | null;
            /**
             * Format: int64
             * @description Position of the head.
             */
            position: number;
            /** @description The signature over the other fields. */
            signature: string;
        };
        /** @description What became of the checkout. */
        Commits: {
            /** @description The commit checked out as it woke. */
            from: string;
            /** @description Commits made in it meanwhile, oldest first, as its own log tells. */
            made?: string[];
            /** @description And when that was last looked at. */
            to: string;
        };
        /** @description Asks for an API key. */
        CreateApiKey: {
            /** @description When it ends; never when absent. */
            expires_at?: string | null;
            /** @description What it is for. */
            name: string;
            /** @description What it is limited to: `read`, or codes of actions; empty is no limit. */
            scopes?: string[];
        };
        /** @description Asks for root in a workspace. */
        CreateElevation: {
            /**
             * Format: int32
             * @description The time box in minutes; 30, or less where the policy allows less, when absent.
             */
            minutes?: number | null;
            /** @description What it is needed for, 1 to 500 characters; kept in the ledger. */
            reason: string;
        };
        /** @description Asks for a one-time host registration token. */
        CreateHostToken: {
            /** @description Name of the host to be. */
            name: components["schemas"]["Slug"];
        };
        /** @description Invites somebody. */
        CreateInvitation: {
            /**
             * @description Their mail address: only who has it may accept, and it is sent to them where there is a mail server. When absent,
             *     whoever holds the token may.
             */
            address?: string | null;
            /** @description Groups they join. */
            groups?: components["schemas"]["Slug"][];
            /** @description What they will be. */
            role: components["schemas"]["Role"];
        };
        /** @description Asks for a signed link. */
        CreateLink: {
            /**
             * Format: int32
             * @description Minutes until it expires; 60 when absent, at most 43,200 (30 days).
             */
            expires_in_minutes?: number | null;
            /**
             * Format: int32
             * @description Most awake minutes of the windows its wakes open; 240 when absent.
             */
            minute_budget?: number | null;
            /** @description Path prefixes it is limited to, such as `/docs`; every path when empty. */
            routes?: string[];
            /** @description The service. */
            service: string;
            /**
             * Format: int32
             * @description Most visits (exchanges for a browser session); no limit when absent.
             */
            visit_budget?: number | null;
            /**
             * Format: int32
             * @description Most wakes it may cause.
             */
            wake_budget?: number | null;
        };
        /** @description Asks for an org. */
        CreateOrg: {
            /** @description Its display name; the slug when absent. */
            name?: string | null;
            /** @description Its slug: part of every dev host, so it never changes. */
            slug: components["schemas"]["Slug"];
        };
        /** @description Asks for a project. */
        CreateProject: {
            /** @description Where the repository is: a Git URL, or on the one box an absolute path. */
            repository: string;
            /** @description Its slug, unique in the org. */
            slug: components["schemas"]["Slug"];
        };
        /** @description Asks for a run. */
        CreateRun: {
            /** @description Program and arguments; not interpreted by a shell. */
            argv: string[];
            /** @description The service whose environment, secrets and directory it is to have. Without one it has every input in capitals. */
            service?: string | null;
        };
        /** @description Asks for a workspace. Asking again for the same branch of the same project answers the one that exists. */
        CreateWorkspace: {
            /** @description The branch; made from the repository's default branch when it does not exist. */
            branch: string;
            /** @description The project. */
            project: components["schemas"]["Slug"];
            size?: components["schemas"]["Size"] | null;
            slug?: components["schemas"]["Slug"] | null;
        };
        /** @description A new API key; the only time its value is shown. */
        CreatedApiKey: {
            /** @description The key. */
            id: components["schemas"]["ApiKeyId"];
            /** @description The value to send as `Authorization: Bearer`. */
            value: string;
        };
        /** @description A one-time registration token; the only time it is shown. */
        CreatedHostToken: {
            /** @description The host to be. */
            host: components["schemas"]["HostId"];
            /** @description Hand it to `envforged host --token-file`. */
            token: string;
        };
        /** @description A new invitation; the only time its token is shown. */
        CreatedInvitation: {
            /** @description The invitation. */
            invitation: components["schemas"]["Invitation"];
            /** @description Whether a mail with it is under way to the address. */
            mailed?: boolean;
            /** @description What to hand over; it is good once. */
            token: string;
        };
        /** @description A new link; the only time its token is shown. */
        CreatedLink: {
            /** @description The link. */
            link: components["schemas"]["Link"];
            /** @description The token, for the `envforge-link` header of agents and CI. */
            token: string;
            /** @description What to share: `https://<dev host>/share/<token>`. */
            url: string;
        };
        /** @description What a query found. */
        DatabaseRows: {
            /** @description The names of the columns. */
            columns: string[];
            /** @description More rows, or the ends of long cells, are left out. */
            is_cut: boolean;
            /** @description The cells of each row as PostgreSQL writes them; `null` is NULL. */
            rows: (string | null)[][];
        };
        /**
         * @description A day of the week.
         * @enum {string}
         */
        Day: "mon" | "tue" | "wed" | "thu" | "fri" | "sat" | "sun";
        /** @description Decides about a machine that waits. */
        DecideDevice: {
            /** @description Whether it may act as you. */
            approve: boolean;
            /** @description The code it shows. */
            user_code: string;
        };
        /** @description Something that the ledger says. */
        Deed: {
            /** @description When. */
            at: string;
            /** @description Who, as `kind:id`. */
            by: string;
            /** @description Why. */
            cause: string;
            /** @description The event. */
            event: components["schemas"]["EventId"];
            /** @description To what, where it is not the workspace. */
            subject?: string | null;
            /** @description What. */
            verb: string;
        };
        /** @description A dev host. */
        DevHost: {
            /** @description The DNS label. */
            label: string;
            /** @description The service. */
            service: string;
            /** @description The URL, without any token. */
            url: string;
        };
        /** @description What the machine shows, and what it keeps. */
        DeviceStarted: {
            /** @description Redeemed by polling; kept secret. */
            device_code: string;
            /**
             * Format: int32
             * @description Seconds until it is too late.
             */
            expires_in: number;
            /**
             * Format: int32
             * @description Seconds between polls.
             */
            interval: number;
            /** @description What a person compares or types. */
            user_code: string;
            /** @description Where. */
            verification_uri: string;
            /** @description The same with the code filled in. */
            verification_uri_complete: string;
        };
        /**
         * @description What is due.
         * @enum {string}
         */
        DueAction: "wake" | "sleep";
        /** @description What came of it. */
        DueOutcome: {
            /** @enum {string} */
            outcome: "done";
        } | {
            /** @enum {string} */
            outcome: "skipped";
            /** @description Why. */
            reason: components["schemas"]["Skip"];
        } | {
            /** @description The refusal's code. */
            code: string;
            /** @description What it said. */
            message: string;
            /** @enum {string} */
            outcome: "refused";
        };
        /** @description Where a secret is added, and how. */
        EgressRule: {
            /** @description The header it is sent in, such as `x-api-key`; `authorization` when absent. */
            header?: string;
            /**
             * @description The destination, such as `api.anthropic.com`; with `:port` when that is not 443. Always reached by TLS.
             * @example api.example.org
             */
            host: string;
            /** @description What stands before it in the header, such as `Bearer `. */
            prefix?: string;
        };
        /** @description An elevation. */
        Elevation: {
            /** @description When it was approved or refused. */
            decided_at?: string | null;
            decided_by?: components["schemas"]["Person"] | null;
            ended?: components["schemas"]["EndReason"] | null;
            /** @description When it was over. */
            ended_at?: string | null;
            /** @description End of the time box; before the approval, end of the wait for one. */
            expires_at: string;
            /** @description The elevation. */
            id: components["schemas"]["ElevationId"];
            /**
             * Format: int32
             * @description The time box in minutes; it begins with the approval.
             */
            minutes: number;
            /** @description What it is for. */
            reason: string;
            /** @description When. */
            requested_at: string;
            /** @description Who asked, and whose terminals they are. */
            requested_by: components["schemas"]["Person"];
            /** @description Its slug. */
            slug: components["schemas"]["Slug"];
            /** @description Where it stands. */
            state: components["schemas"]["ElevationState"];
            /** @description The workspace. */
            workspace: components["schemas"]["WorkspaceId"];
        };
        /** @description One person's time-boxed right to root terminals in one workspace. */
        ElevationId: string;
        /**
         * @description Where an elevation stands.
         * @enum {string}
         */
        ElevationState: "requested" | "approved" | "active" | "refused" | "withdrawn" | "ended";
        /** @description Elevations of an org. */
        Elevations: {
            /** @description The newest first, at most 200. */
            elevations: components["schemas"]["Elevation"][];
        };
        /**
         * @description A mail address, in lower case.
         * @example ada@example.org
         */
        EmailAddress: string;
        /**
         * @description Why one is over.
         * @enum {string}
         */
        EndReason: "revoked" | "expired" | "closed";
        /** @description The body of every answer that is not a success. */
        ErrorBody: {
            /** @description What was refused, why, and what helps. */
            error: components["schemas"]["Refusal"];
        };
        /** @description Something that happened. */
        Event: {
            /** @description Who: a user, link session, host or part of the product, as `kind:id`. */
            actor: string;
            /** @description When the change was made. */
            at: string;
            /** @description Why, in words. */
            cause: string;
            /** @description What else is known; integers, texts and booleans only, never a secret. */
            details: Record<string, never>;
            /** @description The event. */
            id: components["schemas"]["EventId"];
            org?: components["schemas"]["OrgId"] | null;
            /** @description What it happened to, as an id. */
            subject: string;
            /** @description What happened, past tense: `runtime.woken`. */
            verb: string;
        };
        /** @description One ledger event. */
        EventId: string;
        /** @description The first key of a new user. */
        FirstKey: {
            /** @description The key. */
            id: components["schemas"]["ApiKeyId"];
            /** @description The value to send as `Authorization: Bearer`. */
            value: string;
        };
        /**
         * @description Asks for copies of a workspace: its files, database and object storage as they are now, its own secrets, size and cap.
         *     Asking again for the same ones answers those that exist.
         */
        ForkWorkspace: {
            /** @description The slug of each copy, at most [`FORKS_MAX`]; its branch has the same name and begins at the source's commit. */
            slugs: components["schemas"]["Slug"][];
        };
        /** @description The copies of a workspace. Each is there when its shell is ready. */
        ForkedWorkspaces: {
            /** @description Whether their files take no room of their own until they change. */
            copy_on_write: boolean;
            /** @description In the order asked for. */
            workspaces: components["schemas"]["Workspace"][];
        };
        /** @description Makes an SSH key for a Git host; its private half never leaves the server. */
        GenerateGitKey: {
            /**
             * @description The host, as in the repository's address: `github.com`, `git.example.org:2222`.
             * @example github.com
             */
            host: string;
        };
        /** @description A credential of one's own, without its value. */
        GitCredential: {
            /** @description When it was set. */
            created_at: string;
            /** @description When it ends, as far as known. */
            expires_at?: string | null;
            /** @description The host. */
            host: string;
            /** @description The credential. */
            id: components["schemas"]["GitCredentialId"];
            /** @description When Git in a workspace was last given it, to the minute. */
            last_used_at?: string | null;
            /** @description User name for HTTP. */
            username: string;
        };
        /** @description A person's credential for a Git host. */
        GitCredentialId: string;
        /** @description One's credentials for Git hosts. */
        GitCredentials: {
            /** @description By host. */
            git_credentials: components["schemas"]["GitCredential"][];
        };
        /** @description An SSH key of one's own, its public half. */
        GitKey: {
            /** @description When it was made or brought. */
            created_at: string;
            /** @description As hosts show it: `SHA256:…`. */
            fingerprint: string;
            /** @description The host. */
            host: string;
            /** @description The key. */
            id: components["schemas"]["GitKeyId"];
            /** @description When Git in a workspace last logged in with it, to the minute. */
            last_used_at?: string | null;
            /** @description The line to register there: `ssh-ed25519 AAAA…`. */
            public_key: string;
        };
        /** @description A person's SSH key for a Git host. */
        GitKeyId: string;
        /** @description One's SSH keys for Git hosts. */
        GitKeys: {
            /** @description By host. */
            git_keys: components["schemas"]["GitKey"][];
        };
        /** @description An override that holds. */
        GivenOverride: {
            /** @description When. */
            at: string;
            /** @description Who gave it, by name. */
            by: string;
            /** @description Why. */
            reason: string;
            /** @description Until when it holds. */
            until: string;
            /**
             * Format: int64
             * @description Up to which cost in the month, in micro-units of the currency; no limit when absent.
             */
            up_to_micros?: number | null;
            /**
             * Format: int64
             * @description Up to how many seconds awake in the month; no limit when absent.
             */
            up_to_seconds?: number | null;
        };
        /** @description A group. */
        Group: {
            /** @description The group. */
            id: components["schemas"]["GroupId"];
            /** @description Its members. */
            members: components["schemas"]["UserId"][];
            /** @description Its name. */
            name: components["schemas"]["Slug"];
        };
        /** @description A group of an org's members. */
        GroupId: string;
        /** @description Groups of an org. */
        Groups: {
            /** @description By name. */
            groups: components["schemas"]["Group"][];
        };
        /** @description What `GET /v1/health` answers. */
        Health: {
            /** @description `ok`: the process is alive. */
            status: string;
            /** @description The server's version. */
            version: string;
        };
        /** @description How an installation is. */
        HealthReport: {
            /** @description Everything that was looked at. */
            checks: components["schemas"]["Check"][];
        };
        /** @description What keeps a runtime awake. */
        Holder: {
            /** @enum {string} */
            kind: "jobs";
            /** @description What they were asked for, where that is told: the first of them. */
            names?: string[];
            /**
             * Format: int32
             * @description So many.
             */
            running: number;
        } | {
            /**
             * Format: int64
             * @description So many.
             */
            count: number;
            /** @enum {string} */
            kind: "requests";
        } | {
            /**
             * Format: int64
             * @description Bytes in the minute.
             */
            bytes: number;
            /** @enum {string} */
            kind: "realtime";
        } | {
            /** @enum {string} */
            kind: "cpu";
            /**
             * Format: int64
             * @description Processor time in the minute, in milliseconds.
             */
            milliseconds: number;
        } | {
            /**
             * Format: int64
             * @description Bytes in the minute.
             */
            bytes: number;
            /** @enum {string} */
            kind: "disk";
        } | {
            /**
             * Format: int64
             * @description Bytes in the minute.
             */
            bytes: number;
            /** @enum {string} */
            kind: "network";
        };
        /** @description A host. */
        Host: {
            /** @description The host. */
            id: components["schemas"]["HostId"];
            /** @description Last heartbeat. */
            last_seen_at?: string | null;
            /** @description Why its machine's memory is short, while it is: what has been frozen longest is stopped then. */
            memory_short?: string | null;
            /** @description Its name. */
            name: string;
            /** @description What its isolation lacks, in plain sentences; empty is full isolation. */
            reductions: string[];
            /** @description Its state. */
            state: components["schemas"]["HostState"];
            /**
             * Format: int64
             * @description Swap of its machine in bytes, zram included. With 0, what is frozen keeps nearly all of its memory until it is stopped;
             *     none if the host never said.
             */
            swap?: number | null;
            trouble?: components["schemas"]["Trouble"] | null;
        };
        /** @description A host: a machine that runs one org's workspaces. */
        HostId: string;
        /**
         * @description State of a host, separate from any runtime's.
         * @enum {string}
         */
        HostState: "registering" | "online" | "lost";
        /** @description Hosts of an org. */
        Hosts: {
            /** @description By name. */
            hosts: components["schemas"]["Host"][];
        };
        /** @description After how long without work runtimes sleep at the latest, whatever `envforge.yml` says. */
        IdleLimit: {
            /**
             * Format: int32
             * @description Seconds, 30 to 86400; none is no limit.
             */
            seconds?: number | null;
        };
        /** @description When to sleep. */
        IdlePolicy: {
            /**
             * Format: int32
             * @description Processor time in a minute, in milliseconds, up to which its services do nothing.
             */
            cpu: number;
            /**
             * Format: int64
             * @description Bytes read from and written to disks in a minute, up to which they do nothing.
             */
            disk: number;
            /**
             * Format: int32
             * @description Seconds without work before the runtime is frozen.
             */
            freeze_after: number;
            /**
             * Format: int64
             * @description Bytes over the workspace's network in a minute, up to which they do nothing.
             */
            network: number;
            /**
             * Format: int64
             * @description Bytes over realtime connections in a minute, up to which those are silent: pings are.
             */
            realtime: number;
            /**
             * Format: int32
             * @description Seconds frozen before it is stopped.
             */
            stop_after: number;
        };
        /**
         * @description Whose word it is after how long a runtime sleeps.
         * @enum {string}
         */
        IdleSource: "manifest" | "project" | "org" | "quiet_hours";
        /** @description Why it stays awake, or how long still. */
        IdleVerdict: {
            /** @description When it will sleep at the earliest: if all of it ends now. Absent from a server that does not tell. */
            earliest?: string | null;
            /** @description All that holds it, most telling first. Empty from a server that does not tell. */
            holders?: components["schemas"]["Holder"][];
            /** @description What holds it, in words. */
            reason: string;
            /** @enum {string} */
            verdict: "busy";
        } | {
            /** @description When it will sleep. */
            sleeps_at: string;
            /** @enum {string} */
            verdict: "idle";
        } | {
            /** @description Why, in words. */
            reason: string;
            /** @enum {string} */
            verdict: "sleep";
        };
        /** @description Brings an SSH key for a Git host. It can't be read back. */
        ImportGitKey: {
            /**
             * @description The host, as in the repository's address.
             * @example github.com
             */
            host: string;
            /** @description An Ed25519 key in OpenSSH's format, without a passphrase. */
            private_key: string;
        };
        /** @description An invitation, without its token. */
        Invitation: {
            /** @description Whom it is for. */
            address?: string | null;
            /** @description When it was made. */
            created_at: string;
            /** @description Who invited. */
            created_by: components["schemas"]["UserId"];
            /** @description Until when it can be accepted. */
            expires_at: string;
            /** @description Groups they join, by name. */
            groups: components["schemas"]["Slug"][];
            /** @description The invitation. */
            id: components["schemas"]["InvitationId"];
            /** @description What whoever accepts becomes. */
            role: components["schemas"]["Role"];
            /** @description Its state. */
            state: components["schemas"]["InvitationState"];
        };
        /** @description An invitation into an org. */
        InvitationId: string;
        /**
         * @description State of an invitation.
         * @enum {string}
         */
        InvitationState: "open" | "accepted" | "revoked" | "expired";
        /** @description Invitations of an org. */
        Invitations: {
            /** @description Newest first, the last thousand. */
            invitations: components["schemas"]["Invitation"][];
        };
        /** @description A test or job run by `envforge run`. */
        JobId: string;
        /**
         * @description How far a job is.
         * @enum {string}
         */
        JobState: "waiting" | "running" | "done" | "failed" | "cancelled" | "dead";
        /** @description A receipt and what proves it. */
        KeptReceipt: {
            /** @description Whether receipt, hash and ledger say the same; absent while it is not final. */
            is_intact?: boolean | null;
            /** @description What people that it names by id are called now. */
            names: {
                [key: string]: string;
            };
            /** @description The receipt. The hash is of its canonical text: keys sorted by their bytes, no white space. */
            receipt: components["schemas"]["SessionReceipt"];
            recorded?: components["schemas"]["RecordedHash"] | null;
            /** @description SHA-256 of that text, hexadecimal; absent while it is not final. */
            sha256?: string | null;
        };
        /** @description A key-encryption key, as far as it may be told. */
        KeyEncryptionKey: {
            /** @description Whether the server was given it. */
            configured: boolean;
            /**
             * Format: int64
             * @description How many data keys it wraps. One that is not in use and wraps none can be taken away; one that is not configured
             *     and wraps some is missing.
             */
            data_keys: number;
            /** @description Whether new data keys are wrapped by it. */
            in_use: boolean;
            /** @description Its name: `local:…`, made from a digest, or `aws-kms:…`. */
            name: string;
        };
        /** @description The key-encryption keys of the installation. */
        KeyEncryptionKeys: {
            /** @description The one in use first. */
            keys: components["schemas"]["KeyEncryptionKey"][];
        };
        /** @description What came of something due. */
        LastDue: components["schemas"]["DueOutcome"] & {
            /** @description What. */
            action: components["schemas"]["DueAction"];
            /**
             * Format: date-time
             * @description When it was due.
             */
            at: string;
        };
        /** @description What does not hold in a chain. */
        LedgerBreak: {
            /** @description When it was found. */
            at: string;
            /**
             * Format: int64
             * @description Where.
             */
            position: number;
            /** @description What, for a person. */
            reason: string;
        };
        /** @description Events that fit. */
        LedgerEvents: {
            /** @description The events, in the order asked for. */
            events: components["schemas"]["ListedEvent"][];
            /** @description The cursor of the next page; absent when this is the last one. */
            next?: string | null;
        };
        /** @description How a chain stands. */
        LedgerState: {
            anchor?: components["schemas"]["Anchor"] | null;
            broken?: components["schemas"]["LedgerBreak"] | null;
            checkpoint?: components["schemas"]["Checkpoint"] | null;
            /** @description Position and hash of the last sealed event. */
            head: components["schemas"]["Seal"];
            /** @description The server's public key: note it down, exports are verified against it. */
            key: components["schemas"]["PublicKey"];
            /** @description When the oldest event was written that has no seal yet; a second is usual. */
            oldest_unsealed_at?: string | null;
            /** @description When it last did. */
            verified_at?: string | null;
            /**
             * Format: int64
             * @description Up to which position the server has verified the chain.
             */
            verified_position: number;
            /** @description When it last verified the whole chain from its beginning. */
            whole_at?: string | null;
        };
        /** @description A link, without its token. */
        Link: {
            /** @description When it was made. */
            created_at: string;
            /** @description When it expires. */
            expires_at: string;
            /** @description The link. */
            id: components["schemas"]["LinkId"];
            /** @description The dev host label. */
            label: string;
            /**
             * Format: int32
             * @description Most awake minutes allowed.
             */
            minute_budget?: number;
            /**
             * Format: int32
             * @description Awake minutes of the windows its wakes opened and that are closed, rounded up.
             */
            minutes?: number;
            /** @description Path prefixes it is limited to; every path when empty. */
            routes?: string[];
            /** @description The service. */
            service: string;
            /** @description `active`, `expired` or `revoked`. */
            state: components["schemas"]["LinkState"];
            /**
             * Format: int32
             * @description Most visits allowed.
             */
            visit_budget?: number | null;
            /**
             * Format: int32
             * @description Visits so far.
             */
            visits: number;
            /**
             * Format: int32
             * @description Most wakes allowed.
             */
            wake_budget: number;
            /**
             * Format: int32
             * @description Wakes caused so far.
             */
            wakes: number;
            /** @description The workspace. */
            workspace: components["schemas"]["WorkspaceId"];
        };
        /** @description A signed link. */
        LinkId: string;
        /** @description A browser session on one dev host. */
        LinkSessionId: string;
        /**
         * @description Whether a link still opens.
         * @enum {string}
         */
        LinkState: "active" | "expired" | "revoked";
        /** @description Visits by one link. */
        LinkVisits: {
            /**
             * Format: int64
             * @description How many.
             */
            count: number;
            /** @description The link. */
            link: string;
            /** @description The visitors' sessions. */
            visitors: string[];
        };
        /** @description Links of a workspace. */
        Links: {
            /** @description Newest first. */
            links: components["schemas"]["Link"][];
        };
        /** @description An event that fits. */
        ListedEvent: {
            /** @description The event. */
            event: components["schemas"]["Event"];
            seal?: components["schemas"]["Seal"] | null;
        };
        /** @description A session of somebody signed in with a browser. */
        LoginSession: {
            /** @description Since when. */
            created_at: string;
            /** @description When it ends if it is not used again. */
            ends_at: string;
            /** @description The session. */
            id: components["schemas"]["LoginSessionId"];
            /** @description Whether it is the one that asks. */
            is_current: boolean;
            /** @description Last use, to the minute. */
            last_seen_at: string;
            /** @description How one signed in: `provider`, `mail` or `key`. */
            method: string;
            /** @description By which provider. */
            provider?: string | null;
            /** @description What the browser calls itself. */
            user_agent: string;
        };
        /** @description A session of somebody signed in with a browser. */
        LoginSessionId: string;
        /** @description One's sessions. */
        LoginSessions: {
            /** @description The one used last first. */
            sessions: components["schemas"]["LoginSession"][];
        };
        /** @description The key of a machine that was signed in; the only time its value is shown. */
        MachineKey: {
            /** @description When it ends. */
            expires_at: string;
            /** @description The key. */
            id: components["schemas"]["ApiKeyId"];
            /** @description Its name: the machine's. */
            name: string;
            /** @description The value to send as `Authorization: Bearer`. */
            value: string;
        };
        /** @description A message, read. Very long pieces are cut; the raw message has everything. */
        Mail: components["schemas"]["MailSummary"] & {
            /** @description What is attached. */
            attachments: components["schemas"]["MailAttachment"][];
            /** @description Its headers, in their order. */
            headers: components["schemas"]["MailHeader"][];
            /** @description The source of its HTML. It is a stranger's: show it as text, or in a frame that may do nothing. */
            html?: string | null;
            /** @description Its text; made from its HTML where it has only that. */
            text?: string | null;
        };
        /** @description Something attached to a message. */
        MailAttachment: {
            /** @description Its media type. */
            content_type: string;
            /** @description Its file name, if it has one. */
            name?: string | null;
            /**
             * Format: int64
             * @description Its size in bytes, decoded.
             */
            size: number;
        };
        /** @description A header of a message. */
        MailHeader: {
            /** @description Its name. */
            name: string;
            /** @description Its value as it was sent. */
            value: string;
        };
        /** @description A message in a workspace's mail sink. */
        MailId: string;
        /** @description A message as a list shows it. */
        MailSummary: {
            /** @description Who sent it, as told to the mail server; empty for a bounce. */
            from: string;
            /** @description Its id. */
            id: components["schemas"]["MailId"];
            /**
             * Format: date-time
             * @description When it was accepted.
             */
            received_at: string;
            /**
             * Format: int64
             * @description Its size in bytes.
             */
            size: number;
            /** @description Its subject, decoded. */
            subject?: string | null;
            /** @description Whom it was sent to, as told to the mail server. */
            to: string[];
        };
        /** @description The answer, whoever asked. */
        MailUnderWay: {
            /** @description What happens now. */
            message: string;
        };
        /** @description A page of a mail sink, the newest message first. */
        Mails: {
            /** @description The messages. */
            mails: components["schemas"]["MailSummary"][];
            more_before?: components["schemas"]["MailId"] | null;
        };
        /** @description The caller. */
        Me: {
            /** @description Which key or session was shown. */
            credential?: string;
            /** @description Whether one operates the installation. */
            is_operator?: boolean;
            /** @description Display name. */
            name: string;
            /** @description The orgs one is a member of. */
            orgs: components["schemas"]["Membership"][];
            /** @description What the credential shown is limited to; empty is no limit. */
            scopes?: string[];
            /** @description The user. */
            user: components["schemas"]["UserId"];
        };
        /** @description A member. */
        Member: {
            /** @description Their groups, by name. */
            groups: components["schemas"]["Slug"][];
            /** @description What people call them. */
            name: string;
            /** @description Their role. */
            role: components["schemas"]["Role"];
            /** @description The user. */
            user: components["schemas"]["UserId"];
        };
        /** @description Members of an org. */
        Members: {
            /** @description By name. */
            members: components["schemas"]["Member"][];
        };
        /** @description A membership. */
        Membership: {
            /** @description The org. */
            org: components["schemas"]["OrgId"];
            /** @description One's role in it. */
            role: components["schemas"]["Role"];
            /** @description Its slug. */
            slug: components["schemas"]["Slug"];
        };
        /** @description A calendar month in UTC, `2026-11`. */
        Month: string;
        /** @description Final receipts of sessions that ended in a month, newest first. */
        MonthReceipts: {
            /** @description The month, in UTC. */
            month: components["schemas"]["Month"];
            /** @description The cursor of the next page; absent when this is the last one. */
            next?: string | null;
            /** @description The receipts. */
            receipts: components["schemas"]["SessionReceipt"][];
        };
        /** @description Asks for a group, or changes its name. */
        NameGroup: {
            /** @description Its name, unique in the org. */
            name: components["schemas"]["Slug"];
        };
        /** @description What is due next. */
        NextDue: {
            /** @description What. */
            action: components["schemas"]["DueAction"];
            /**
             * Format: date-time
             * @description When.
             */
            at: string;
        };
        /** @description An object as a list shows it. */
        ObjectSummary: {
            /** @description The media type it was stored with. */
            content_type?: string | null;
            /** @description Its key. */
            key: string;
            /**
             * Format: date-time
             * @description When it was stored.
             */
            modified_at: string;
            /**
             * Format: int64
             * @description Its size in bytes.
             */
            size: number;
        };
        /** @description A page of a bucket, by key. */
        Objects: {
            /** @description There are more keys than this one, which is the last of this page. */
            more_after?: string | null;
            /** @description The objects. */
            objects: components["schemas"]["ObjectSummary"][];
        };
        /** @description An org. */
        Org: {
            /** @description When it was made. */
            created_at: string;
            /** @description The org. */
            id: components["schemas"]["OrgId"];
            /** @description Its display name. */
            name: string;
            /** @description Its slug. */
            slug: components["schemas"]["Slug"];
        };
        /** @description An organization. */
        OrgId: string;
        /** @description The hours in which no schedule of the org wakes anything, read and set. */
        OrgQuietHours: {
            quiet_hours?: components["schemas"]["QuietHours"] | null;
        };
        /** @description The org's root policy, read and set. */
        OrgRootPolicy: {
            /** @description The policy. */
            policy: components["schemas"]["RootPolicy"];
        };
        /** @description What an org wants of its terminals. */
        OrgTerminalPolicy: {
            /**
             * @description Record what is shown in every terminal that is opened from now on. Root's are recorded in any case; what a single command
             *     prints (`envforge exec`) is not, its program is in the ledger.
             */
            record: boolean;
        };
        /** @description What an org used in a month. */
        OrgUsage: {
            /**
             * Format: int64
             * @description Seconds awake of all sizes together.
             */
            awake_seconds: number;
            bill?: components["schemas"]["Bill"] | null;
            /** @description The organization's cap. */
            cap: components["schemas"]["Cap"];
            cap_posture?: components["schemas"]["CapPosture"] | null;
            /**
             * @description Caps that are set of the organization and of the projects the reader sees, with where this month stands; none of a month
             *     that is over.
             */
            caps?: components["schemas"]["CapStanding"][];
            /**
             * Format: int64
             * @description What they cost in micro-units of the currency.
             */
            cost_micros: number;
            /** @description ISO 4217 code. */
            currency: string;
            /** @description Whether it is over; until then figures may grow. */
            is_over: boolean;
            /** @description The month, in UTC. */
            month: components["schemas"]["Month"];
            /** @description Seconds awake together. For owners, admins and billing those of projects they don't see are in it. */
            seconds: components["schemas"]["SizeSeconds"];
            /** @description Workspaces that are there or were awake in it, of the projects the reader sees, by project and name. */
            workspaces: components["schemas"]["UsedWorkspace"][];
        };
        /** @description Lifts a cap's stop. Without an end or an amount it holds until the month ends. */
        OverrideCap: {
            /**
             * Format: int64
             * @description So much money more, in micro-units of the currency.
             */
            micros?: number | null;
            /**
             * Format: int64
             * @description So many awake minutes more than the cap, or than were used when that is more.
             */
            minutes?: number | null;
            /** @description Why; kept in the ledger. */
            reason: string;
            /** @description Until when; the month's end at the latest. */
            until?: string | null;
        };
        /** @description A part and its readiness. */
        Part: {
            /** @description Why it is blocked, or what it waits for. */
            cause?: string | null;
            /** @description Stable code of what blocks it, such as `service.command_not_found`. */
            code?: string | null;
            /** @description What helps. */
            fix?: string | null;
            /** @description Shell, runtime, service, resource or check. */
            kind: components["schemas"]["PartKind"];
            /** @description Its name: the service's, the resource's, the check's; `shell`, `runtime`. */
            name: string;
            /**
             * Format: int32
             * @description Port a service listens on inside the workspace, once known.
             */
            port?: number | null;
            /**
             * Format: int32
             * @description Times the service was restarted since the wake.
             */
            restarts?: number;
            /** @description Its state. */
            state: components["schemas"]["ReadinessState"];
        };
        /**
         * @description What kind of part it is.
         * @enum {string}
         */
        PartKind: "shell" | "runtime" | "service" | "resource" | "check";
        /** @description A person. */
        Person: {
            /** @description What people call them. */
            name: string;
            /** @description The account. */
            user: components["schemas"]["UserId"];
        };
        /** @description Prices, and from when they hold. */
        PriceVersion: {
            /** @description From when they hold; the first ones always did. */
            holds_from?: string | null;
            /** @description The prices. */
            prices: components["schemas"]["Prices"];
            /**
             * Format: int64
             * @description The setting's version; 0 are those of the server's configuration.
             */
            version: number;
        };
        /** @description Seconds at the price of one version. */
        PricedPart: {
            /**
             * Format: int64
             * @description Price per hour in micro-units.
             */
            per_hour_micros: number;
            /**
             * Format: int64
             * @description The version of the prices.
             */
            price_version: number;
            /**
             * Format: int64
             * @description Whole seconds.
             */
            seconds: number;
        };
        /** @description Prices, in micro-units of the currency. */
        Prices: {
            /** @description ISO 4217 code. */
            currency: string;
            /**
             * Format: int64
             * @description What an organization has free in each month.
             */
            included_credit?: number;
            /**
             * Format: int64
             * @description Large, per hour.
             */
            large: number;
            /**
             * Format: int64
             * @description Medium, per hour.
             */
            medium: number;
            /**
             * Format: int64
             * @description What an organization pays for a month at least.
             */
            month_minimum?: number;
            /**
             * Format: int64
             * @description Small, per hour.
             */
            small: number;
        };
        /** @description A project. */
        Project: {
            /** @description When it was made. */
            created_at: string;
            /** @description The project. */
            id: components["schemas"]["ProjectId"];
            /** @description Where the repository is. */
            repository: string;
            /** @description Its slug. */
            slug: components["schemas"]["Slug"];
        };
        /** @description Who sees a project, beside owners and admins, who see all. */
        ProjectAccess: {
            /** @description Its groups, by name; a project that is not restricted has none. */
            groups?: components["schemas"]["Slug"][];
            /** @description Whether only its groups see it; all members do otherwise. */
            is_restricted: boolean;
        };
        /** @description A project: one repository with one `envforge.yml`. */
        ProjectId: string;
        /** @description Projects of an org. */
        Projects: {
            /** @description By slug. */
            projects: components["schemas"]["Project"][];
        };
        /** @description A public key as it travels to gateways and hosts. */
        PublicKey: {
            /** @description Key id, as in the tokens. */
            id: string;
            /** @description The 32 bytes in unpadded base64url. */
            key: string;
        };
        /** @description Asks a workspace's database. */
        QueryDatabase: {
            /**
             * Format: int32
             * @description At most so many rows, 100 when absent, up to 1000.
             */
            limit?: number | null;
            /** @description One SELECT, VALUES, TABLE or WITH. Nothing else is done, and nothing is changed. */
            query: string;
        };
        /**
         * @description Where jobs wait, by what they wait for.
         * @enum {string}
         */
        Queue: "default" | "ai" | "sandbox" | "github" | "deployments";
        /** @description A queue, over all servers. */
        QueueStatus: {
            /**
             * Format: int64
             * @description Jobs a person ended.
             */
            cancelled: number;
            /**
             * Format: int32
             * @description How many of its jobs one server runs at a time.
             */
            concurrency: number;
            /**
             * Format: int64
             * @description Dead letters.
             */
            dead: number;
            /**
             * Format: int64
             * @description Jobs that succeeded and are still kept.
             */
            done: number;
            /**
             * Format: int64
             * @description Jobs whose handler gave up.
             */
            failed: number;
            /** @description Since when the longest waiting of the jobs that are due is due. */
            oldest_due_at?: string | null;
            /** @description The queue. */
            queue: components["schemas"]["Queue"];
            /**
             * Format: int64
             * @description Jobs that run.
             */
            running: number;
            /**
             * Format: int64
             * @description Jobs that wait, due or not.
             */
            waiting: number;
        };
        /** @description All queues. */
        Queues: {
            /** @description All there are. */
            queues: components["schemas"]["QueueStatus"][];
        };
        /** @description An org's quiet hours, as people write them. */
        QuietHours: {
            /** @description On which days they begin, at least one. */
            days: components["schemas"]["Day"][];
            /**
             * @description The time of day they begin, `HH:MM`.
             * @example 20:00
             */
            from: string;
            /**
             * Format: int32
             * @description Seconds of idleness after which a runtime sleeps in them, 30 to 3600, if that is sooner than else.
             * @example 120
             */
            quiet_idle: number;
            /**
             * @description The time of day they end, `HH:MM`: of the same day if that is later, else of the next one.
             * @example 07:00
             */
            to: string;
            /**
             * @description The time zone, by its IANA name.
             * @example Europe/Berlin
             */
            zone: string;
        };
        /** @description Something that ran. */
        Ran: {
            /** @description When it was asked for. */
            at: string;
            /** @description Who asked. */
            by: string;
            /** @description When it ended. */
            ended_at?: string | null;
            /**
             * Format: int64
             * @description With which exit code, where that is known.
             */
            exit_code?: number | null;
            /** @description The job. */
            job?: string | null;
            /** @description Its program, without arguments; or the service and what was done to it. */
            name: string;
            /** @description `run`, `exec`, or `service`. */
            what: string;
        };
        /**
         * @description The state of a part.
         * @enum {string}
         */
        ReadinessState: "ready" | "waking" | "blocked" | "asleep";
        /** @description What `GET /v1/ready` answers when requests should come here. */
        Ready: {
            /**
             * Format: int64
             * @description The version of the database's schema.
             */
            schema: number;
            /** @description The server's version. */
            version: string;
        };
        /** @description What a usage session did and cost, in short; kept after sleep. */
        Receipt: {
            /**
             * Format: int64
             * @description Metered seconds.
             */
            awake_seconds: number;
            /**
             * Format: int64
             * @description Cost in micro-units of the currency.
             */
            cost_micros: number;
            /** @description ISO 4217 code. */
            currency: string;
            /** @description Whether the session has ended; until then figures grow. */
            is_final: boolean;
            /** @description The session. */
            session: components["schemas"]["UsageSessionId"];
            /**
             * Format: int64
             * @description Seconds that could not be proven and are not billed.
             */
            unproven_seconds: number;
            /** @description Its windows, oldest first. */
            windows: components["schemas"]["AwakeWindow"][];
        };
        /** @description A receipt in short. */
        ReceiptSummary: {
            /**
             * Format: int64
             * @description Metered seconds.
             */
            awake_seconds: number;
            /**
             * Format: int64
             * @description Cost in micro-units of the currency.
             */
            cost_micros: number;
            /** @description ISO 4217 code. */
            currency: string;
            /** @description When the session ended. */
            ended_at?: string | null;
            /** @description Whether it is kept as it is; else figures grow. */
            is_final: boolean;
            /** @description When its first window opened. */
            opened_at?: string | null;
            /** @description The session. */
            session: components["schemas"]["UsageSessionId"];
            /**
             * Format: int64
             * @description Seconds that could not be proven and are not billed.
             */
            unproven_seconds: number;
            /** @description What woke it. */
            wake_cause?: string | null;
            /** @description The workspace. */
            workspace: components["schemas"]["WorkspaceId"];
            /** @description Its name. */
            workspace_slug: string;
        };
        /** @description An awake window with what it cost. */
        ReceiptWindow: {
            /** @description When it closed; absent while it is open. */
            closed_at?: string | null;
            /**
             * Format: int64
             * @description Cost in micro-units.
             */
            cost_micros: number;
            /** @description Why it ended. */
            end_cause?: string | null;
            /** @description The events that say so. */
            evidence: components["schemas"]["EventId"][];
            /** @description When it opened. */
            opened_at: string;
            /** @description The seconds by the version of the prices. */
            parts: components["schemas"]["PricedPart"][];
            /**
             * Format: int64
             * @description Metered seconds.
             */
            seconds: number;
            /** @description The size billed. */
            size: components["schemas"]["Size"];
            /**
             * Format: int64
             * @description Seconds that could not be proven and are not billed.
             */
            unproven_seconds: number;
            /** @description What woke it. */
            wake_cause: string;
            /** @description The window. */
            window: components["schemas"]["WindowId"];
        };
        /** @description Receipts of a workspace, newest first. One of a session that is still open comes first. */
        Receipts: {
            /** @description The cursor of the next page; absent when this is the last one. */
            next?: string | null;
            /** @description The receipts, in short. */
            receipts: components["schemas"]["ReceiptSummary"][];
        };
        /** @description A receipt's hash as the ledger has it. */
        RecordedHash: {
            /** @description When it was written. */
            at: string;
            /** @description The event. */
            event: components["schemas"]["EventId"];
            /** @description The hash. */
            sha256: string;
        };
        /** @description What one client of a recorded terminal was shown. */
        RecordingId: string;
        /**
         * @description A machine polls. Refused with `device.authorization_pending`, `device.slow_down` (`retry_after` says how slow),
         *     `device.access_denied` or `device.expired_token` (RFC 8628, 3.5).
         */
        RedeemDevice: {
            /** @description As started. */
            device_code: string;
        };
        /** @description A program redeems the code its browser brought to it on the loopback address (RFC 8252, 7.3). */
        RedeemLoopback: {
            /** @description The code. */
            code: string;
            /** @description PKCE's verifier (RFC 7636). */
            code_verifier: string;
        };
        /** @description A refusal as every surface shows it. */
        Refusal: {
            /** @description Stable, documented, dotted: `link.expired`, `workspace.not_found`. */
            code: string;
            /** @description What to do about it. */
            hint?: string | null;
            /** @description Whose move it is. */
            kind: components["schemas"]["RefusalKind"];
            /** @description What is wrong, for a person. */
            message: string;
            /**
             * Format: int32
             * @description Seconds after which trying again can help; absent when it can't.
             */
            retry_after?: number | null;
        };
        /**
         * @description Whose move it is, and hence the HTTP status.
         * @enum {string}
         */
        RefusalKind: "invalid" | "unauthenticated" | "forbidden" | "not_found" | "conflict" | "limit" | "unavailable" | "internal";
        /** @description What it would have come to. */
        Replay: {
            /**
             * Format: int64
             * @description Minutes of work that would have waited, because nothing that wakes came with it.
             */
            minutes_put_off: number;
            /**
             * Format: int64
             * @description Wakes there were.
             */
            wakes_were: number;
            /**
             * Format: int64
             * @description Wakes there would have been.
             */
            wakes_would_be: number;
            /**
             * Format: int64
             * @description Seconds awake, as metered.
             */
            was_awake: number;
            /**
             * Format: int64
             * @description Seconds awake by the other policy.
             */
            would_be_awake: number;
        };
        /** @description What another policy would have made of the past days. */
        Replayed: {
            /** @description From when on. */
            from: string;
            /** @description The policy it was tried with. */
            policy: components["schemas"]["IdlePolicy"];
            /** @description What it would have come to. */
            replay: components["schemas"]["Replay"];
        };
        /**
         * @description The kinds of resource this version provides.
         * @enum {string}
         */
        ResourceKind: "postgres" | "redis" | "object_storage" | "mail";
        /** @description Makes an older version's value the newest version. */
        RestoreSecret: {
            /**
             * Format: int32
             * @description The older version.
             */
            version: number;
        };
        /** @description Makes an earlier version the newest again. */
        RestoreSetting: {
            /** @description Why. */
            reason: string;
            /**
             * Format: int64
             * @description The version to restore.
             */
            version: number;
        };
        /** @description What was restored. */
        Restored: {
            /**
             * Format: int64
             * @description Bytes of the dump.
             */
            bytes: number;
        };
        /**
         * @description A member's role in an org.
         * @example reviewer
         * @enum {string}
         */
        Role: "owner" | "admin" | "developer" | "reviewer" | "billing";
        /** @description Who may become root in an org's workspaces, and how. */
        RootPolicy: {
            /** @enum {string} */
            mode: "disabled";
        } | {
            /**
             * Format: int32
             * @description Longest time box, in minutes.
             */
            max_minutes: number;
            /** @enum {string} */
            mode: "break_glass";
        } | {
            /**
             * Format: int32
             * @description Longest time box, in minutes.
             */
            max_minutes: number;
            /** @enum {string} */
            mode: "workspace";
        };
        /** @description Asks for a new signing key. */
        RotateSigningKey: {
            /** @description Drop all others at once: every link, session and ticket that they signed ends. */
            revoke?: boolean;
        };
        /** @description A resource asks for another password or key from now on. */
        RotatedCredential: {
            /** @description The resource. */
            resource: components["schemas"]["ResourceKind"];
            /** @description The services that take an input of it. If it takes effect now, those of them that run were started again. */
            services: string[];
            /** @description When its users have the new one. */
            takes_effect: components["schemas"]["TakesEffect"];
        };
        /** @description A run. */
        Run: {
            /** @description Program and arguments. */
            argv: string[];
            /** @description Why it failed. */
            cause?: string | null;
            /** @description When it was asked for. */
            created_at: string;
            /** @description When it ended. */
            ended_at?: string | null;
            /**
             * Format: int32
             * @description Exit code once ended; 128 + signal when killed.
             */
            exit_code?: number | null;
            /** @description The job. */
            id: components["schemas"]["JobId"];
            /** @description Its state. */
            state: components["schemas"]["RunState"];
        };
        /**
         * @description The state of a run.
         * @enum {string}
         */
        RunState: "pending" | "running" | "ended" | "failed";
        /**
         * @description What is, as far as the server knows.
         * @enum {string}
         */
        RuntimeState: "asleep" | "waking" | "awake" | "frozen" | "stopping" | "blocked";
        /** @description The runtime as people see it. */
        RuntimeView: {
            /** @description Since when the open awake window runs. */
            awake_since?: string | null;
            /** @description Why it is blocked. */
            blocked_cause?: string | null;
            /** @description Code of what blocks it. */
            blocked_code?: string | null;
            /** @description What helps. */
            blocked_fix?: string | null;
            /**
             * Format: int64
             * @description Raised by every wake and sleep.
             */
            generation: number;
            idle?: components["schemas"]["IdleVerdict"] | null;
            /** @description Whether a cap is set that it counts against. */
            is_capped?: boolean;
            /** @description The public word: ready, waking, blocked or asleep. */
            readiness: components["schemas"]["ReadinessState"];
            /** @description Its size. */
            size: components["schemas"]["Size"];
            /** @description The exact state. */
            state: components["schemas"]["RuntimeState"];
            /** @description What woke it, while it is not asleep. */
            wake_cause?: string | null;
        };
        /** @description An event's place in its chain. */
        Seal: {
            /** @description SHA-256 over the previous hash and the canonical event, hexadecimal. */
            hash: string;
            /**
             * Format: int64
             * @description 1 for the first event of the chain.
             */
            position: number;
        };
        /** @description A secret that an org keeps. */
        SecretId: string;
        /** @description A secret, without its value. */
        SecretInfo: {
            egress?: components["schemas"]["EgressRule"] | null;
            /** @description The secret. */
            id: components["schemas"]["SecretId"];
            /** @description When a service was last given it. */
            last_used_at?: string | null;
            /** @description Its name. */
            name: components["schemas"]["SecretName"];
            /** @description Where it is known. */
            scope: components["schemas"]["SecretScope"];
            /** @description When. */
            set_at: string;
            /** @description Who set that version. */
            set_by: string;
            /**
             * Format: int32
             * @description The version in use.
             */
            version: number;
        };
        /**
         * @description The name of a secret that an org keeps.
         * @example STRIPE_KEY
         */
        SecretName: string;
        /** @description Where a secret is known; where two of one name are, the narrower one counts. */
        SecretScope: {
            /** @enum {string} */
            kind: "org";
        } | {
            /** @enum {string} */
            kind: "project";
            /** @description The project. */
            project: components["schemas"]["Slug"];
        } | {
            /** @enum {string} */
            kind: "workspace";
            /** @description The workspace. */
            workspace: components["schemas"]["Slug"];
        };
        /** @description Uses of a secret. */
        SecretUse: {
            /**
             * Format: int64
             * @description How often.
             */
            count: number;
            /** @description Its name. */
            name: string;
            /** @description The service it was given to, or the destination it was lent for. */
            used_by: string;
        };
        /** @description A version of a secret. */
        SecretVersion: {
            /**
             * Format: int32
             * @description The version it has its value from, when it was restored.
             */
            restored_from?: number | null;
            /** @description When. */
            set_at: string;
            /** @description Who set it. */
            set_by: string;
            /**
             * Format: int32
             * @description Its number.
             */
            version: number;
        };
        /** @description The versions of a secret that are kept. */
        SecretVersions: {
            /** @description Newest first; the first is in use. */
            versions: components["schemas"]["SecretVersion"][];
        };
        /** @description Secrets of an org, with those of its projects and workspaces. */
        Secrets: {
            /** @description By name, the widest scope first. */
            secrets: components["schemas"]["SecretInfo"][];
        };
        /**
         * @description What can happen to one service.
         * @enum {string}
         */
        ServiceAction: "start" | "stop" | "restart";
        /** @description Everything about a usage session. */
        SessionReceipt: {
            /**
             * Format: int64
             * @description Metered seconds.
             */
            awake_seconds: number;
            /** @description Its branch. */
            branch: string;
            commits?: components["schemas"]["Commits"] | null;
            /**
             * Format: int64
             * @description Cost in micro-units of the currency: the sum of the windows'.
             */
            cost_micros: number;
            /** @description ISO 4217 code. */
            currency: string;
            ended?: components["schemas"]["Deed"] | null;
            /** @description Visits by members, and steps of elevations. */
            entries: components["schemas"]["Deed"][];
            /** @description Wakes, sleeps and caps in order. */
            events: components["schemas"]["Deed"][];
            /**
             * Format: int32
             * @description The form of this document; 1.
             */
            format: number;
            /** @description Whether it has ended; until then this is the receipt so far, and not kept. */
            is_final: boolean;
            /**
             * Format: int64
             * @description How much more there was of what is listed above.
             */
            left_out: number;
            /** @description When this was written down. */
            made_at: string;
            opened?: components["schemas"]["Deed"] | null;
            /** @description The organization. */
            org: components["schemas"]["OrgId"];
            /** @description The prices it was made with. */
            prices: components["schemas"]["PriceVersion"][];
            /** @description Its project. */
            project: string;
            /** @description Resources that their provider bills; they are not in the cost. */
            provider_billed: string[];
            /** @description What ran: runs, commands, services that were started or stopped by hand. */
            ran: components["schemas"]["Ran"][];
            /** @description Secrets used, by name. */
            secrets: components["schemas"]["SecretUse"][];
            /** @description The session. */
            session: components["schemas"]["UsageSessionId"];
            /** @description What is uncertain about it, in words. */
            uncertain: string[];
            /**
             * Format: int64
             * @description Seconds that could not be proven and are not billed.
             */
            unproven_seconds: number;
            /** @description Visits by links. */
            visits: components["schemas"]["LinkVisits"][];
            /** @description Its awake windows, oldest first. */
            windows: components["schemas"]["ReceiptWindow"][];
            /** @description The workspace. */
            workspace: components["schemas"]["WorkspaceId"];
            /** @description Its name. */
            workspace_slug: string;
        };
        /** @description Sets a cap. */
        SetCap: {
            /** @description The new cap. */
            cap: components["schemas"]["Cap"];
        };
        /** @description Sets one's token for a Git host, in place of the one that may be there. It can't be read back. */
        SetGitCredential: {
            /** @description When the host lets it end, if one knows. */
            expires_at?: string | null;
            /**
             * @description The host, as in the repository's URL: `github.com`, `git.example.org:8443`.
             * @example github.com
             */
            host: string;
            /** @description The token. */
            token: string;
            /** @description User name for HTTP; most hosts take any with a token. */
            username?: string | null;
        };
        /** @description Says where the installation's GitHub App is installed for an org. */
        SetGitInstallation: {
            /** @description The account whose repositories it reaches. */
            account: string;
            /**
             * Format: int64
             * @description The installation's number.
             */
            installation: number;
        };
        /** @description Sets a workspace's schedule, instead of what was set before. */
        SetSchedule: {
            schedule?: components["schemas"]["Timetable"] | null;
        };
        /** @description Sets a secret: makes it, or gives it a new version, which is in use from the next start of a service on. */
        SetSecret: {
            egress?: components["schemas"]["EgressRule"] | null;
            /** @description Its name; the input `stripe_key` of a service takes the secret `STRIPE_KEY`. */
            name: components["schemas"]["SecretName"];
            /**
             * Format: password
             * @description The value: text of 1 to 65,536 bytes.
             */
            value: string;
        };
        /** @description A setting with its fields. */
        Setting: components["schemas"]["SettingSummary"] & {
            /** @description Its fields. */
            fields: components["schemas"]["SettingField"][];
        };
        /** @description How a field differs. */
        SettingChange: {
            /** @description Its value after; never a secret's. */
            after?: unknown;
            /** @description Its value before; never a secret's. */
            before?: unknown;
            /** @description `added`, `removed` or `changed`. */
            change: string;
            /** @description The field. */
            field: string;
        };
        /** @description A field of a setting. */
        SettingField: {
            /** @description What it is. */
            about: string;
            /** @description What a choice offers. */
            choices?: string[];
            /** @description Whether the setting is useless without it. */
            is_required: boolean;
            /** @description Whether it has a value. */
            is_set: boolean;
            /** @description What it accepts: `text`, `url`, `number`, `flag`, `choice` or `secret`. */
            kind: string;
            /** @description Its name. */
            name: string;
            /** @description Its value; never a secret's. */
            value?: unknown;
        };
        /** @description A setting in a list. */
        SettingSummary: {
            /** @description What it is for. */
            about: string;
            /** @description When. */
            changed_at?: string | null;
            changed_by?: components["schemas"]["UserId"] | null;
            /** @description Whether it is set. */
            is_set: boolean;
            /**
             * @description Its name.
             * @example mail
             */
            name: string;
            /**
             * Format: int64
             * @description Its newest version; 0 when it was never set.
             */
            version: number;
        };
        /** @description A version of a setting. */
        SettingVersion: {
            /** @description When. */
            changed_at: string;
            /** @description Who made it. */
            changed_by: components["schemas"]["UserId"];
            /** @description How it differs from the one before it. */
            changes: components["schemas"]["SettingChange"][];
            /** @description Why. */
            reason: string;
            /**
             * Format: int64
             * @description The version it restored.
             */
            restored?: number | null;
            /**
             * Format: int64
             * @description Its number.
             */
            version: number;
        };
        /** @description Versions of a setting. */
        SettingVersions: {
            /** @description Newest first. */
            versions: components["schemas"]["SettingVersion"][];
        };
        /** @description Settings there are, set or not. */
        Settings: {
            /** @description In the order of the product's list. */
            settings: components["schemas"]["SettingSummary"][];
        };
        /** @description Asks for a link by mail. */
        SignInByMail: {
            /** @description To whom. */
            address: components["schemas"]["EmailAddress"];
            /** @description The path to open then. */
            return_to?: string | null;
        };
        /** @description An identity provider. */
        SignInProvider: {
            /** @description Its name. */
            name: string;
            /** @description The path that leads there. */
            start: string;
            /** @description What people call it. */
            title: string;
        };
        /** @description How one may sign in. */
        SignInProviders: {
            /** @description Whether links are sent by mail. */
            mail: boolean;
            /** @description Identity providers, in the order configured. */
            providers: components["schemas"]["SignInProvider"][];
        };
        /** @description A key that signs links, sessions and tickets. */
        SigningKey: {
            /** @description When gateways and hosts were told of it. */
            announced_at: string;
            /** @description Its id, as in what it signs. */
            id: string;
            /** @description Its public half: 32 bytes in unpadded base64url. */
            public_key: string;
            /** @description From when on it signs. */
            signs_from: string;
            /** @description What it is for now. */
            state: components["schemas"]["SigningState"];
            /** @description Until when what it signed may hold; absent while no other is to follow. */
            verifies_until?: string | null;
        };
        /** @description The signing keys of the installation. */
        SigningKeys: {
            /** @description In the order in which they sign. */
            keys: components["schemas"]["SigningKey"][];
        };
        /**
         * @description What a key is for at an instant.
         * @enum {string}
         */
        SigningState: "announced" | "signing" | "verifying" | "dropped";
        /**
         * @description The size of a runtime.
         * @enum {string}
         */
        Size: "small" | "medium" | "large";
        /** @description Seconds at each size. */
        SizeSeconds: {
            /**
             * Format: int64
             * @description At size large.
             */
            large: number;
            /**
             * Format: int64
             * @description At size medium.
             */
            medium: number;
            /**
             * Format: int64
             * @description At size small.
             */
            small: number;
        };
        /**
         * @description Why nothing happens.
         * @enum {string}
         */
        Skip: "late" | "quiet" | "asleep" | "woken_since";
        /** @description Puts a runtime to sleep. */
        Sleep: {
            /** @description How deep. */
            tier?: components["schemas"]["SleepTier"];
        };
        /**
         * @description How deep to sleep.
         * @enum {string}
         */
        SleepTier: "frozen" | "stopped";
        /**
         * @description A checked slug.
         * @example fix-login
         */
        Slug: string;
        /** @description A machine asks to be signed in by somebody with a browser elsewhere (RFC 8628). */
        StartDevice: {
            /** @description What the machine is called; the key is named after it. */
            machine: string;
        };
        /**
         * @description When the users of a resource have its new credential.
         * @enum {string}
         */
        TakesEffect: "now" | "next_wake";
        /** @description A terminal of a workspace's shell. */
        Terminal: {
            /**
             * Format: int32
             * @description How many clients are attached.
             */
            clients: number;
            /**
             * Format: int32
             * @description Columns: those of the client that typed last.
             */
            cols: number;
            /** @description The program in its foreground, as the workspace's user named it. */
            command: string;
            /** @description Its name. */
            name: components["schemas"]["TerminalName"];
            /**
             * Format: int32
             * @description Rows.
             */
            rows: number;
            /**
             * Format: date-time
             * @description Since when it is there.
             */
            since: string;
        };
        /**
         * @description A terminal's name: letters, digits, `-` and `_`, beginning with a letter or digit. Nothing in it means anything to a
         *     multiplexer, which reads `.`, `:`, `=`, `@`, `$`, `%` and a leading `-` as its own.
         * @example main
         */
        TerminalName: string;
        /** @description What one client of a terminal was shown. */
        TerminalRecording: {
            /**
             * Format: date-time
             * @description Since when.
             */
            begun_at: string;
            /**
             * Format: int64
             * @description Its size so far, in bytes.
             */
            bytes: number;
            /** @description The recording. */
            id: components["schemas"]["RecordingId"];
            /** @description Who was attached. */
            person: string;
            /** @description The terminal's name. */
            terminal: components["schemas"]["TerminalName"];
        };
        /** @description The recordings of a workspace's terminals. */
        TerminalRecordings: {
            /** @description The newest first, at most 200. */
            recordings: components["schemas"]["TerminalRecording"][];
        };
        /** @description The terminals of a workspace, by name. */
        Terminals: {
            /** @description All of them. */
            terminals: components["schemas"]["Terminal"][];
        };
        /** @description When a workspace wakes and sleeps by itself, as people write it. */
        Timetable: {
            /** @description At least one, at most 16. */
            entries: components["schemas"]["TimetableEntry"][];
            /**
             * @description The time zone, by its IANA name.
             * @example Europe/Berlin
             */
            zone: string;
        };
        /** @description One line of a timetable. */
        TimetableEntry: {
            /** @description What is due. */
            action: components["schemas"]["DueAction"];
            /**
             * @description The time of day, `HH:MM`. One that a day leaves out (clocks go forward) is due as much later; one that it has twice is due the
             *     first time.
             * @example 08:30
             */
            at: string;
            /** @description On which days, at least one. */
            days: components["schemas"]["Day"][];
        };
        /** @description What is wrong and what helps. */
        Trouble: {
            /** @description The cause. */
            cause: string;
            /** @description Stable code: `shell.branch_not_found`, `host.disk_full`. */
            code: string;
            /** @description What helps. */
            fix: string;
        };
        /** @description Changes a member. */
        UpdateMember: {
            /** @description Their role from now on. */
            role: components["schemas"]["Role"];
        };
        /** @description Changes an org. */
        UpdateOrg: {
            /** @description Its display name. */
            name: string;
        };
        /** @description A usage session: from one wake to the next full sleep. */
        UsageSessionId: string;
        /** @description What a workspace used in a month. */
        UsedWorkspace: {
            /**
             * Format: int64
             * @description Seconds awake of all sizes together.
             */
            awake_seconds: number;
            /** @description Its cap. */
            cap: components["schemas"]["Cap"];
            /** @description Where the month's usage stands against it. */
            cap_posture: components["schemas"]["CapPosture"];
            /**
             * Format: int64
             * @description What they cost in micro-units of the currency.
             */
            cost_micros: number;
            /** @description The workspace. */
            id: components["schemas"]["WorkspaceId"];
            /** @description Whether it was deleted meanwhile. */
            is_deleted: boolean;
            /** @description Its project. */
            project: string;
            /** @description Seconds awake. */
            seconds: components["schemas"]["SizeSeconds"];
            /** @description Its name. */
            slug: string;
        };
        /** @description A person or agent with an account. */
        UserId: string;
        /**
         * @description How a check ended.
         * @enum {string}
         */
        Verdict: "fine" | "note" | "wrong";
        /** @description One exchange of a link for a browser session, and what that session woke. */
        Visit: {
            /** @description When it began. */
            at: string;
            /**
             * Format: int64
             * @description Metered seconds of these.
             */
            awake_seconds: number;
            /**
             * Format: int64
             * @description Their cost in micro-units of the currency.
             */
            cost_micros: number;
            /** @description The session. */
            session: components["schemas"]["LinkSessionId"];
            /** @description What the browser called itself; forgotten a week after the session expired. */
            user_agent?: string | null;
            /** @description Awake windows that it caused, oldest first. */
            windows: components["schemas"]["WokenWindow"][];
        };
        /** @description Visits through a link, as far back as the ledger goes. */
        Visits: {
            /** @description ISO 4217 code. */
            currency: string;
            next?: components["schemas"]["LinkSessionId"] | null;
            /** @description Newest first. */
            visits: components["schemas"]["Visit"][];
        };
        /** @description Wakes a runtime. */
        Wake: {
            size?: components["schemas"]["Size"] | null;
        };
        /** @description Why a runtime is awake or asleep. */
        Why: {
            /** @description What woke it, while it is awake or waking; else what put it to sleep. */
            cause?: string | null;
            idle?: components["schemas"]["IdleVerdict"] | null;
            /** @description When work was last seen, while it is awake or waking. */
            last_work?: string | null;
            /** @description The server's clock, by which all of this is. */
            now: string;
            /** @description The policy in force. */
            policy: components["schemas"]["IdlePolicy"];
            /** @description Whose word it is after how long it sleeps. */
            rule_of: components["schemas"]["IdleSource"];
            /** @description Since when. */
            since: string;
            /** @description The runtime's state. */
            state: components["schemas"]["RuntimeState"];
        };
        /** @description An awake window. */
        WindowId: string;
        /** @description An awake window, as far as it is a visit's. */
        WokenWindow: {
            /**
             * Format: int64
             * @description Metered seconds.
             */
            awake_seconds: number;
            /** @description When it closed, or a member took it over; absent while it is open. */
            closed_at?: string | null;
            /**
             * Format: int64
             * @description Their cost in micro-units of the currency.
             */
            cost_micros: number;
            /** @description When it opened. */
            opened_at: string;
            /** @description The size billed. */
            size: components["schemas"]["Size"];
            /** @description The window. */
            window: components["schemas"]["WindowId"];
        };
        /** @description A workspace. */
        Workspace: {
            /** @description The branch. */
            branch: string;
            /** @description When it was made. */
            created_at: string;
            /** @description Dev hosts, one per service; a name is no promise of availability. */
            dev_hosts: components["schemas"]["DevHost"][];
            /**
             * @description What is wrong with the checkout's `envforge.yml`: file, line, column, cause, fix. While there is something, what runs
             *     goes on as the last good one said.
             */
            diagnostics?: string[];
            elevation?: components["schemas"]["ActiveElevation"] | null;
            forked_from?: components["schemas"]["Slug"] | null;
            /** @description The workspace. */
            id: components["schemas"]["WorkspaceId"];
            /** @description The org. */
            org: components["schemas"]["OrgId"];
            /** @description The org's slug. */
            org_slug: components["schemas"]["Slug"];
            /** @description Services, resources and checks. */
            parts: components["schemas"]["Part"][];
            /** @description The project. */
            project: components["schemas"]["Slug"];
            /** @description Runtime layer. */
            runtime: components["schemas"]["RuntimeView"];
            /** @description Shell layer. */
            shell: components["schemas"]["Part"];
            /** @description Its slug. */
            slug: components["schemas"]["Slug"];
        };
        /** @description The caps that a workspace's runtime counts against. */
        WorkspaceCaps: {
            /** @description Those that are set: the workspace's, its project's, the organization's, and the budget of the link that woke it. */
            caps: components["schemas"]["CapStanding"][];
            /** @description Until when jobs that run may go on although a cap stops it. */
            grace_until?: string | null;
        };
        /**
         * @description One server-sent event of `GET …/workspaces/{workspace}/events`: the whole workspace, each time it changed.
         *     Correct after a reconnect, because the first event is always the present state.
         */
        WorkspaceChanged: {
            workspace?: components["schemas"]["Workspace"] | null;
        };
        /** @description A workspace: one branch of one project. */
        WorkspaceId: string;
        /** @description A workspace's schedule. */
        WorkspaceSchedule: {
            last?: components["schemas"]["LastDue"] | null;
            next?: components["schemas"]["NextDue"] | null;
            schedule?: components["schemas"]["Timetable"] | null;
        };
        /** @description The usage panel of a workspace. */
        WorkspaceUsage: {
            /**
             * Format: int64
             * @description Metered seconds this calendar month (UTC), the open window included.
             */
            awake_seconds_this_month: number;
            /** @description Since when the open awake window runs. */
            awake_since?: string | null;
            /** @description Resources a provider bills separately. */
            billed_separately: string[];
            /** @description The cap. */
            cap: components["schemas"]["Cap"];
            /** @description Until when jobs that run may go on although a cap stops it. */
            cap_grace_until?: string | null;
            /** @description Where usage stands against it. */
            cap_posture: components["schemas"]["CapPosture"];
            /** @description All caps it counts against, its own too. */
            caps?: components["schemas"]["CapStanding"][];
            /** @description ISO 4217 code. */
            currency: string;
            /**
             * Format: int64
             * @description Cost this month in micro-units of the currency.
             */
            estimate_micros: number;
            /** @description Receipts, newest first; kept after sleep. */
            receipts: components["schemas"]["Receipt"][];
            /** @description Its size. */
            size: components["schemas"]["Size"];
            /** @description The runtime's state. */
            state: components["schemas"]["RuntimeState"];
            /** @description What woke it, while it is not asleep. */
            wake_cause?: string | null;
        };
        /** @description Workspaces of an org. */
        Workspaces: {
            /** @description By slug. */
            workspaces: components["schemas"]["Workspace"][];
        };
    };
    responses: never;
    parameters: never;
    requestBodies: never;
    headers: never;
    pathItems: never;
}
export type $defs = Record<string, never>;
export type operations = Record<string, never>;
